import { count } from '../util/format.ts';
import type { Budget } from './comparison.ts';
import {
  DOCUMENT_ENCODES,
  describeCost,
  formatSpread,
  ledgerLabel,
  READING_COSTS,
  STEPS,
  sortCosts,
  WALL_TIME,
} from './cost.ts';
import type { ArmResults, ComparisonResults, PairedTest } from './results.ts';

/** Table for any medium. The first column names the row, and the others hold figures. */
export interface Table {
  /** Names of the columns. */
  readonly header: readonly string[];
  /** Cells of each row. */
  readonly rows: readonly (readonly string[])[];
}

/** Mark for a missing value. */
const NONE = '–';

/**
 * Makes a table with one row for each arm: metrics with their spread over the seeds, difference from the
 * first arm, and cost of training. The last rows are the rankers without training.
 */
export function resultTable(results: ComparisonResults): Table {
  const { arms, baselines, evaluate } = results;
  const headline = evaluate.metrics[0]!;
  const tested = arms.some(({ againstFirst }) => againstFirst[headline]);
  const intervals = tested && results.units !== undefined;
  const costs = [STEPS, DOCUMENT_ENCODES, ...READING_COSTS, WALL_TIME].filter((name) =>
    arms.some(({ cost }) => cost[name]),
  );
  const seedsDiffer = arms.some(({ runs }) => runs.length !== results.seeds.length);
  return {
    header: [
      'arm',
      ...evaluate.metrics,
      ...(tested ? [`Δ ${headline}`, ...(intervals ? ['95 %'] : []), 'p'] : []),
      ...costs.map((name) => describeCost(name).label),
      ...(seedsDiffer ? ['seeds'] : []),
    ],
    rows: [
      ...arms.map((arm) => [
        arm.name,
        ...evaluate.metrics.map((metric) => metricCell(arm, metric)),
        ...(tested ? testCells(arm.againstFirst[headline], intervals) : []),
        ...costs.map((name) => costCell(arm, name, 'mean')),
        ...(seedsDiffer ? [`${arm.runs.length} of ${results.seeds.length}`] : []),
      ]),
      ...baselines.map(({ name, metrics }) => [
        name,
        ...evaluate.metrics.map((metric) => metrics[metric]?.toFixed(4) ?? NONE),
        ...(tested ? ['', ''] : []),
        ...costs.map(() => NONE),
        ...(seedsDiffer ? [''] : []),
      ]),
    ],
  };
}

/** Makes a table of the costs of a run, by arm. */
export function ledgerTable({ arms, units }: ComparisonResults): Table {
  const names = sortCosts([...new Set(arms.flatMap(({ cost }) => Object.keys(cost)))]);
  return tall({
    header: ['arm', ...names.map((name) => ledgerLabel(name, units))],
    rows: arms.map((arm) => [arm.name, ...names.map((name) => costCell(arm, name, 'spread'))]),
  });
}

/** Makes a table of the settings that differ between the arms. */
export function differingSettingsTable({ arms }: ComparisonResults): Table {
  return tall(settingsTable(arms, (values) => new Set(values).size > 1));
}

/** Swaps rows and columns if there are more columns than rows, since pages are narrow. */
function tall(table: Table): Table {
  const { header, rows } = table;
  if (rows.length >= header.length - 1) return table;
  return {
    header: [header[0]!, ...rows.map((row) => row[0]!)],
    rows: header.slice(1).map((name, i) => [name, ...rows.map((row) => row[i + 1]!)]),
  };
}

/** Lists the settings that are equal in all arms, with name and value. */
export function commonSettings({ arms }: ComparisonResults): (readonly [name: string, value: string])[] {
  const { rows } = settingsTable(arms, (values) => new Set(values).size === 1);
  return rows.map((row) => [row[0]!, row[1]!]);
}

function settingsTable(arms: readonly ArmResults[], wanted: (values: readonly string[]) => boolean): Table {
  const done = arms.filter(({ settings }) => settings !== null);
  const records = done.map(({ settings }) => settings as unknown as Readonly<Record<string, unknown>>);
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))].filter(
    (name) => name !== 'seed',
  );
  const rows = names.map((name) => ({ name, values: records.map((record) => settingText(record[name])) }));
  return {
    header: ['arm', ...done.map(({ name }) => name)],
    rows: rows.filter(({ values }) => wanted(values)).map(({ name, values }) => [name, ...values]),
  };
}

const settingText = (value: unknown): string =>
  value === null || value === undefined
    ? NONE
    : typeof value === 'string'
      ? value || '(empty)'
      : JSON.stringify(value);

const metricCell = ({ metrics }: ArmResults, metric: string): string => {
  const found = metrics[metric];
  return found ? formatSpread(found, (value) => value.toFixed(4)) : NONE;
};

function costCell({ cost }: ArmResults, name: string, show: 'mean' | 'spread'): string {
  const found = cost[name];
  if (!found) return NONE;
  const { format } = describeCost(name);
  return show === 'mean' ? format(found.mean) : formatSpread(found, format);
}

function testCells(test: PairedTest | undefined, withInterval: boolean): string[] {
  if (!test) return withInterval ? ['', '', ''] : ['', ''];
  const { low, high } = test.interval;
  return [
    signed(test.difference),
    ...(withInterval ? [`${signed(low)} to ${signed(high)}`] : []),
    formatP(test.pHolm),
  ];
}

/** Formats a difference with its sign and four decimals. */
export const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;

/** Formats a p-value with three decimals. */
export function formatP(p: number): string {
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}

/** Explains the numbers of the table in a few sentences. */
export function tableNotes(results: ComparisonResults): string[] {
  const { arms, seeds, data, evaluate, budget, units } = results;
  const noun = units ?? 'queries';
  const queries = count(data.testQueries);
  const headline = evaluate.metrics[0]!;
  const compared = arms.filter(({ againstFirst }) => againstFirst[headline]).length;
  const length = budget ? `, ${describeBudget(budget)} each` : '';
  return [
    units === 'documents'
      ? `${data.name}: ${queries} documents.`
      : `${data.name}: ${count(data.documents)} documents, ${queries} ${noun} of ${evaluate.split}${length}.`,
    ...(units === undefined ? [seedsNote(seeds)] : []),
    ...(compared > 0
      ? [
          `Δ and p are against ${arms[0]!.name}: paired randomisation test over the ${noun}` +
            `${units === undefined ? ", each query's values averaged over the seeds" : ''}` +
            `${units === undefined ? '' : `, interval by paired bootstrap over the ${noun}`}` +
            `${compared > 1 ? `, p adjusted by Holm's method for ${compared} arms` : ''}.`,
        ]
      : []),
    ...belowBaselines(results),
    ...results.failures.map(({ arm, seed, message }) => {
      const run = units === undefined ? `${arm} with seed ${seed}` : arm;
      return `${run} failed: ${message.split('\n')[0]!}.`;
    }),
    ...(results.complete ? [] : ['Not all runs are done.']),
  ];
}

const seedsNote = (seeds: readonly number[]): string =>
  seeds.length > 1
    ? `Metrics are mean ± standard deviation over the seeds ${seeds.join(', ')}.`
    : `One seed (${seeds[0]}): nothing is known of the spread between seeds.`;

/** Names the arms that fall short of rankers without training. */
function belowBaselines({ arms, baselines, evaluate }: ComparisonResults): string[] {
  const headline = evaluate.metrics[0]!;
  return baselines.flatMap(({ name, metrics: { [headline]: theirs } }) => {
    if (theirs === undefined) return [];
    const short = arms.filter(({ metrics }) => (metrics[headline]?.mean ?? theirs) < theirs);
    if (short.length === 0) return [];
    const names = short.map((arm) => arm.name).join(', ');
    return [`Short of ${name}, which needs no training, in ${headline}: ${names}.`];
  });
}

/** Formats a budget, such as `1,000 steps`. */
export function describeBudget({ kind, amount }: Budget): string {
  const what = kind === 'encodes' ? 'document encodes' : kind;
  const one = amount === 1 ? what.replace(/s$/, '') : what;
  return `${count(amount)} ${one}`;
}

/** Formats a table for the terminal. */
export function tableAsText({ header, rows }: Table): string {
  const all = [header, ...rows];
  // Every code point counts as one column, which is right for names and figures.
  const width = (text: string) => [...text].length;
  const widths = header.map((_, i) => Math.max(...all.map((row) => width(row[i]!))));
  return all
    .map((row) =>
      row
        .map((text, i) => {
          const space = ' '.repeat(widths[i]! - width(text));
          return i === 0 ? text + space : space + text;
        })
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** Formats a table in Markdown, with figures aligned at the right. */
export function tableAsMarkdown({ header, rows }: Table): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return line(header) + line(header.map((_, i) => (i === 0 ? '---' : '---:'))) + rows.map(line).join('');
}
