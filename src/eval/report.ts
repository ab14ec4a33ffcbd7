import { count } from '../util/format.ts';
import type { RunComparison } from './significance.ts';

/** Row of a table: the name of a system and its metrics. */
export interface NamedMetrics {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Formats metrics as a table for the terminal, one system per row, each row ending with a line end.
 *
 *              ndcg@10  mrr@10
 *     BM25      0.5312  0.5001
 *     trained   0.7204  0.6990
 *
 * The columns are the metrics in the order of their first occurrence. A metric that a system lacks is shown
 * as `–`.
 *
 * @param options.digits  digits after the decimal point; default 4
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
 * Formats a paired comparison as text for the terminal.
 *
 *     ndcg@10 over 323 queries: trained 0.3312, BM25 0.3062
 *     difference +0.0250, 95 % interval +0.0101 to +0.0399, better on 140, worse on 98, equal on 85
 *     p = 0.0012 (randomisation test, 10,000 samples), p = 0.0011 (t-test)
 */
export function formatComparison(comparison: RunComparison, nameA = 'A', nameB = 'B'): string {
  const { randomisation, tTest, interval } = comparison;
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
  const samples = count(randomisation.samples);
  const how = randomisation.exact ? `exact, ${samples} patterns` : `${samples} samples`;
  return (
    `${comparison.metric} over ${count(comparison.queries)} queries: ` +
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

/** Number of terminal columns: one per code point, which is enough for ids and metric names. */
function width(text: string): number {
  return [...text].length;
}

function pad(text: string, columns: number, alignRight: boolean): string {
  const space = ' '.repeat(columns - width(text));
  return alignRight ? space + text : text + space;
}
