import type { RunComparison } from './significance.ts';

/** One row of a table: a system and its figures. */
export interface NamedMetrics {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * A table of metrics for the terminal, one system a row, with a line end after each.
 *
 *              ndcg@10  mrr@10
 *     BM25      0.5312  0.5001
 *     trained   0.7204  0.6990
 *
 * Columns are the metrics in the order in which they first occur; `–` stands where a system lacks one.
 *
 * @param options.digits after the decimal point. Default 4.
 */
export function formatMetrics(results: readonly NamedMetrics[], { digits = 4 } = {}): string {
  const names = [...new Set(results.flatMap(({ metrics }) => Object.keys(metrics)))];
  const cell = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(digits));
  const rows = [
    ['', ...names],
    ...results.map(({ name, metrics }) => [name, ...names.map((metric) => cell(metrics[metric]))]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => width(row[column]!))));
  return rows
    .map((row) => row.map((text, column) => pad(text, widths[column]!, column > 0)).join('  '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/**
 * A paired comparison in words, for the terminal.
 *
 *     ndcg@10 over 323 queries: trained 0.3312, BM25 0.3062
 *     difference +0.0250, 95 % interval +0.0101 to +0.0399, better on 140, worse on 98, equal on 85
 *     p = 0.0012 (randomisation test, 10,000 samples), p = 0.0011 (t-test)
 */
export function formatComparison(comparison: RunComparison, nameA = 'A', nameB = 'B'): string {
  const { randomisation, tTest, interval } = comparison;
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
  const samples = randomisation.samples.toLocaleString('en-US');
  const how = randomisation.exact ? `exact, ${samples} patterns` : `${samples} samples`;
  return (
    `${comparison.metric} over ${comparison.queries.toLocaleString('en-US')} queries: ` +
    `${nameA} ${comparison.meanA.toFixed(4)}, ${nameB} ${comparison.meanB.toFixed(4)}\n` +
    `difference ${signed(comparison.difference)}, ${Number((interval.confidence * 100).toPrecision(4))} % interval ` +
    `${signed(interval.low)} to ${signed(interval.high)}, ` +
    `better on ${comparison.wins}, worse on ${comparison.losses}, equal on ${comparison.ties}\n` +
    `${formatP(randomisation.pValue)} (randomisation test, ${how}), ${formatP(tTest.pValue)} (t-test)\n`
  );
}

function formatP(p: number): string {
  return p < 0.0001 ? `p = ${p.toExponential(1)}` : `p = ${p.toFixed(4)}`;
}

/** Columns taken, one for each code point: ids and metric names need no more. */
function width(text: string): number {
  return [...text].length;
}

function pad(text: string, columns: number, alignRight: boolean): string {
  const space = ' '.repeat(columns - width(text));
  return alignRight ? space + text : text + space;
}
