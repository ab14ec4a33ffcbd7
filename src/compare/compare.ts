import type { ComparisonConfig } from './comparison.ts';
import { checkComparison, readComparison } from './read-comparison.ts';
import type { ComparisonResults } from './results.ts';
import { type ComparisonCallbacks, type ComparisonOptions, runComparison } from './run-comparison.ts';
import { writeReport } from './write-report.ts';

/**
 * Compares ways of training. Trains every arm with every seed, evaluates the models, and tests the differences
 * for significance. Writes `results.json` and `report.html` into the folder of the comparison.
 *
 * A comparison that was stopped is resumed and gives the same bytes. A failed run is reported, and the
 * remaining runs continue.
 *
 * @param config  config, or the path of a JSON file with one; paths in a file are relative to the file
 * @returns  results, and the path of the report
 * @throws UsageError with the place in the config of a key that is missing or unknown, or an invalid value
 * @throws InterruptedError after saving, when `callbacks.signal` fires
 *
 * @example
 * const { arms, report } = await compare({
 *   data: 'data/api-docs',
 *   out: 'runs/temperatures',
 *   budget: { steps: 1000 },
 *   seeds: [1, 2, 3],
 *   base: { method: 'in-batch' },
 *   arms: [{ name: 'cold' }, { name: 'warm', temperature: 0.1 }],
 * });
 */
export async function compare(
  config: ComparisonConfig | string,
  options: ComparisonOptions = {},
  callbacks: ComparisonCallbacks = {},
): Promise<ComparisonResults & { readonly report: string }> {
  const comparison = typeof config === 'string' ? await readComparison(config) : checkComparison(config);
  const results = await runComparison(comparison, options, callbacks);
  return { ...results, report: await writeReport(results, comparison.out) };
}
