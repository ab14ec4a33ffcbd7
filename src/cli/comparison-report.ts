import { dirname, join } from 'node:path';
import { type ComparisonResults, isResults, readResults } from '../compare/results.ts';
import { RESULTS } from '../compare/run-comparison.ts';
import { formatResults, writeCharts, writeMarkdown, writeReport } from '../compare/write-report.ts';
import { readJson } from '../util/files.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Options of reporting the results of a comparison. */
export const REPORT_OPTIONS = {
  overwrite: {
    type: 'switch',
    default: false,
    help: 'repeat runs whose settings or data have changed',
  },
  reportOnly: {
    type: 'switch',
    default: false,
    help: 'run nothing; only make the report again from results.json',
  },
  markdown: {
    type: 'text',
    value: 'file',
    help: 'file for the tables as Markdown; in an existing page they replace the text between <!-- NAME --> and <!-- /NAME -->',
  },
  charts: { type: 'text', value: 'folder', help: 'folder for the charts as SVG files' },
} as const satisfies OptionTable;

/** Results of a comparison, and its folder. */
export interface FoundResults {
  readonly out: string;
  readonly results: ComparisonResults;
}

/**
 * Reads the results that are there.
 *
 * @param file  results.json, or the config file of the comparison
 * @param configuredOut  returns the folder that a config file names
 */
export async function storedResults(
  file: string,
  out: string | undefined,
  configuredOut: () => Promise<string>,
): Promise<FoundResults> {
  if (isResults(await readJson(file))) return { out: out ?? dirname(file), results: await readResults(file) };
  const folder = await configuredOut();
  return { out: folder, results: await readResults(join(folder, RESULTS)) };
}

/** Writes the report, and Markdown and charts where they are asked for. Returns what the command prints. */
export async function reportResults(
  { out, results }: FoundResults,
  {
    markdown,
    charts: chartFolder,
  }: { readonly markdown?: string | undefined; readonly charts?: string | undefined },
) {
  const report = await writeReport(results, out);
  if (markdown !== undefined) await writeMarkdown(results, markdown);
  const charts = chartFolder === undefined ? [] : await writeCharts(results, chartFolder);
  const arms = results.arms.map(({ name, method, metrics, cost, againstFirst }) => ({
    name,
    method,
    metrics,
    cost,
    againstFirst,
  }));
  const { name, complete, failures } = results;
  return {
    json: { name, complete, results: join(out, RESULTS), report, charts, failures, arms },
    text: `${formatResults(results)}\n${report}\n`,
    exitCode: failures.length > 0 ? (1 as const) : (0 as const),
  };
}
