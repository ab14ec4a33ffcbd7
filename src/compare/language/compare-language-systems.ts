import type { ComparisonResults } from '../results.ts';
import { writeReport } from '../write-report.ts';
import type { LanguageComparisonConfig } from './comparison.ts';
import { checkLanguageComparison, readLanguageComparison } from './read-comparison.ts';
import {
  type LanguageComparisonCallbacks,
  type LanguageComparisonOptions,
  runLanguageComparison,
} from './run-comparison.ts';

/**
 * Compares language systems: measures a language model alone and with retrieval on the same tokens of running text, or on the same
 * questions. The model alone stands first, and the controls of the systems stand beside them, unless the config has arms of their names.
 * Writes `results.json`, with differences from the model alone and their intervals, and `report.html` into the folder of the comparison.
 *
 * Arms that are done are kept, so that a comparison that was stopped goes on where it was. A failed arm is reported, and the remaining
 * arms continue.
 *
 * @param config  config, or the path of a JSON file with one; paths in a file are relative to the file
 * @returns  results, and the path of the report
 * @throws UsageError with the place in the config of a key that is missing or unknown, or an invalid value
 * @throws UndriftError for an arm in the folder that differs from the config, unless `overwrite` is set
 * @throws InterruptedError between two arms, when `callbacks.signal` fires
 *
 * @example
 * const { arms, report } = await compareLanguageSystems({
 *   model: 'HuggingFaceTB/SmolLM2-135M',
 *   data: 'data/squad',
 *   out: 'runs/passages',
 *   arms: [{ name: 'bm25', method: 'in-context' }, { method: 'replug', retriever: 'runs/lsr' }],
 *   evaluate: { limitQueries: 300 },
 * });
 */
export async function compareLanguageSystems(
  config: LanguageComparisonConfig | string,
  options: LanguageComparisonOptions = {},
  callbacks: LanguageComparisonCallbacks = {},
): Promise<ComparisonResults & { readonly report: string }> {
  const comparison =
    typeof config === 'string' ? await readLanguageComparison(config) : checkLanguageComparison(config);
  const results = await runLanguageComparison(comparison, options, callbacks);
  return { ...results, report: await writeReport(results, comparison.out) };
}
