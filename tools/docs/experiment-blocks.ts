/** @file Makes the blocks of docs/experiments.md from the results of each comparison. */
import { chartFile } from '../../src/compare/chart-file.ts';
import { DOCUMENT_ENCODES, describeCost, formatSpread, WALL_TIME } from '../../src/compare/cost.ts';
import type { Chart, Series } from '../../src/compare/draw-chart.ts';
import { chartsOf } from '../../src/compare/report-charts.ts';
import type { ArmResults, ComparisonResults } from '../../src/compare/results.ts';
import { spread } from '../../src/compare/statistics.ts';
import { formatP, signed, type Table, tableAsMarkdown, tableNotes } from '../../src/compare/tables.ts';

/** Block of the page, with its chart. */
export interface ExperimentBlock {
  /** Tables and notes of the block. */
  readonly markdown: string;
  /** Name of the chart's file in docs/experiments/, and its SVG text. */
  readonly chart?: { readonly file: string; readonly svg: string };
}

interface Experiment {
  /**
   * Columns of a table in place of one table of all arms. Its cells are the metric of the arms named
   * `<column>-<row>`.
   */
  readonly columns?: readonly string[];
  /** Makes the chart. */
  readonly chart?: (results: ComparisonResults) => {
    readonly chart: Chart;
    readonly names: readonly string[];
  };
}

/** Experiments by the name of the comparison. Config, results and block have the same name. */
export const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  'loss-forms': { columns: ['expectation', 'importance', 'truncated'] },
  'loss-forms-static': { columns: ['expectation', 'importance', 'truncated'] },
  'api-docs': { chart: encodesChart },
  'defaults-api-docs': {},
  'defaults-fairytaleqa': {},
  'defaults-nfcorpus': {},
  medquad: { chart: encodesChart },
  squad: { chart: encodesChart },
  'corrector-api-docs': { chart: encodesChart },
  'corrector-medquad': { chart: encodesChart },
  'corrector-squad': { chart: encodesChart },
  'corrector-squad-truncated': { chart: encodesChart },
  'corrector-squad-samples': { chart: encodesChart },
  'corrector-large': { chart: encodesChart },
  'corrector-hostile': { chart: encodesChart },
  'auto-refresh': { chart: encodesChart },
  'minilm-api-docs': { chart: encodesChart },
  'minilm-medquad': { chart: encodesChart },
  'minilm-squad': { chart: encodesChart },
  'minilm-fairytaleqa': { chart: encodesChart },
  'minilm-nfcorpus': { chart: encodesChart },
  'refresh-fraction': {
    chart: (results) =>
      settingChart(results, {
        title: 'Quality against the share of the cache that is refreshed after each step',
        xLabel: 'share of the cache refreshed after each step',
        xUnit: 'value',
        lines: { fraction: 'without write-back', 'write-back': 'with write-back' },
      }),
  },
  'cache-size': {
    chart: (results) =>
      settingChart(results, {
        title: 'Quality against the size of the cache',
        xLabel: 'documents in the cache',
        xUnit: 'count',
        lines: { expectation: 'expectation form', truncated: 'truncated softmax' },
        level: 'in-batch',
      }),
  },
};

/**
 * Makes the block of a comparison.
 *
 * @throws Error for a comparison that is not an experiment
 */
export function experimentBlock(results: ComparisonResults): ExperimentBlock {
  const { name } = results;
  const experiment = EXPERIMENTS[name];
  if (!experiment) throw new Error(`no experiment is called "${name}"`);
  const { columns, chart: make } = experiment;
  const made = make?.(results);
  const all = tableAsMarkdown(qualityAndCostTable(results));
  const parts = [
    ...(made ? [`![${made.chart.title}](experiments/${name}.svg)\n`] : []),
    ...(columns
      ? [
          tableAsMarkdown(crossTable(results, columns)),
          `<details><summary>All arms, with what they cost</summary>\n\n${all}\n</details>\n`,
        ]
      : [all]),
    `${tableNotes(results).join(' ')} ${provenance(results)}\n`,
  ];
  const chart = made && { file: `${name}.svg`, svg: chartFile(made.chart, made.names) };
  return { markdown: parts.join('\n'), ...(chart && { chart }) };
}

/**
 * Makes a table with one row for each arm: metrics, difference from the first arm, cost of training. Leaves
 * out costs that no arm has. The last rows are the rankers without training.
 */
export function qualityAndCostTable({ arms, baselines, evaluate }: ComparisonResults): Table {
  const headline = evaluate.metrics[0]!;
  const tested = arms.some(({ againstFirst }) => againstFirst[headline]);
  const costs: readonly (readonly [header: string, names: readonly string[]])[] = [
    ['documents embedded', [DOCUMENT_ENCODES]],
    ['of them as negatives', ['negativeEncodes']],
    ['of them to teach or watch', ['teachingEncodes', 'probeEncodes']],
    ['of them to refresh or mine', ['refreshEncodes', 'miningEncodes']],
    ['FLOP to score the cache', ['scoringFlops']],
    ['FLOP to correct it', ['correctionFlops']],
    ['largest cache', ['cacheBytes']],
    ['training time', [WALL_TIME]],
  ];
  const present = costs.filter(([, names]) => arms.some(({ cost }) => names.some((name) => cost[name])));
  return {
    header: [
      'arm',
      ...evaluate.metrics,
      ...(tested ? [`Δ ${headline}`, 'p'] : []),
      ...present.map(([header]) => header),
    ],
    rows: [
      ...arms.map((arm) => {
        const test = arm.againstFirst[headline];
        return [
          arm.name,
          ...evaluate.metrics.map((metric) => metricCell(arm, metric)),
          ...(tested ? (test ? [signed(test.difference), formatP(test.pHolm)] : ['', '']) : []),
          ...present.map(([, names]) => costCell(arm, names)),
        ];
      }),
      ...baselines.map(({ name, metrics }) => [
        name,
        ...evaluate.metrics.map((metric) => metrics[metric]?.toFixed(3) ?? ''),
        ...(tested ? ['', ''] : []),
        ...present.map(() => ''),
      ]),
    ],
  };
}

/**
 * Makes a table of the headline metric of the arms named `<column>-<row>`. Arms with other names follow
 * below. The cost of a row is the mean over its arms.
 */
export function crossTable({ arms, evaluate }: ComparisonResults, columns: readonly string[]): Table {
  const metric = evaluate.metrics[0]!;
  const partsOf = (arm: ArmResults) => {
    const column = columns.find((prefix) => arm.name.startsWith(`${prefix}-`));
    return column === undefined
      ? { arm, row: arm.name }
      : { arm, column, row: arm.name.slice(column.length + 1) };
  };
  const parts = arms.map(partsOf);
  const inTable = [...new Set(parts.flatMap(({ column, row }) => (column ? [row] : [])))];
  const others = [...new Set(parts.flatMap(({ column, row }) => (column ? [] : [row])))];
  return {
    header: [metric, ...columns, 'documents embedded', 'of them to refresh'],
    rows: [...inTable, ...others].map((row) => {
      const ofRow = parts.filter((part) => part.row === row);
      const cells = columns.map((column, i) => {
        const found = ofRow.find((part) => (part.column ?? columns[0]) === column);
        return found ? metricCell(found.arm, metric) : others.includes(row) && i > 0 ? '' : NONE;
      });
      const cost = (name: string) => {
        const means = ofRow.flatMap(({ arm }) => arm.cost[name]?.mean ?? []);
        return means.length > 0 ? describeCost(name).format(spread(means).mean) : NONE;
      };
      return [row, ...cells, cost(DOCUMENT_ENCODES), cost('refreshEncodes')];
    }),
  };
}

interface SettingChart {
  readonly title: string;
  readonly xLabel: string;
  readonly xUnit: 'count' | 'value';
  /** Lines by the prefix of their arms' names, each with its name in the chart. */
  readonly lines: Readonly<Record<string, string>>;
  /** Arm without a number, drawn as a horizontal line. */
  readonly level?: string;
}

/**
 * Draws the headline metric over the number at the end of the arms' names, as mean ± standard deviation over
 * the seeds.
 */
export function settingChart(
  { arms, evaluate }: ComparisonResults,
  { lines, level, ...labels }: SettingChart,
): { chart: Chart; names: string[] } {
  const metric = evaluate.metrics[0]!;
  const numbers = (prefix: string) =>
    arms.flatMap(({ name, metrics }) => {
      const x = name.startsWith(`${prefix}-`) ? Number(name.slice(prefix.length + 1)) : Number.NaN;
      const y = metrics[metric];
      return Number.isFinite(x) && y ? [{ x, y }] : [];
    });
  const series: Series[] = Object.keys(lines).map((prefix, arm) => {
    const points = numbers(prefix).sort((a, b) => a.x - b.x);
    return {
      arm,
      x: points.map(({ x }) => x),
      y: points.map(({ y }) => y.mean),
      sd: points.map(({ y }) => y.sd ?? 0),
    };
  });
  const xs = [...new Set(series.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const flat = arms.find(({ name }) => name === level)?.metrics[metric];
  if (flat) {
    const [first, last] = [xs[0]!, xs.at(-1)!];
    series.push({
      arm: series.length,
      x: [first, last],
      y: [flat.mean, flat.mean],
      sd: [flat.sd ?? 0, flat.sd ?? 0],
    });
  }
  return {
    chart: {
      kind: 'lines',
      id: 'setting',
      ...labels,
      yLabel: metric,
      yUnit: 'value',
      logX: true,
      xTicks: xs,
      series,
    },
    names: [...Object.values(lines), ...(flat ? [level!] : [])],
  };
}

/** Draws the headline metric against the number of documents that a run encodes. */
function encodesChart(results: ComparisonResults): { chart: Chart; names: string[] } {
  const chart = chartsOf(results).main.find(
    ({ kind, id }) => kind === 'scatter' && /-documentencodes$/.test(id),
  );
  if (!chart) throw new Error(`${results.name} has no chart of quality against document encodes`);
  return { chart, names: results.arms.map(({ name }) => name) };
}

const NONE = '–';

function metricCell({ metrics }: ArmResults, metric: string): string {
  const found = metrics[metric];
  return found ? formatSpread(found, (value) => value.toFixed(3)) : NONE;
}

/** Formats the sum of the costs, each averaged over the seeds. */
function costCell({ cost }: ArmResults, names: readonly string[]): string {
  const found = names.flatMap((name) => cost[name] ?? []);
  if (found.length === 0) return NONE;
  return describeCost(names[0]!).format(found.reduce((sum, { mean }) => sum + mean, 0));
}

function provenance({ name, machines }: ComparisonResults): string {
  const where = machines.map(({ processor, cores, memoryBytes, versions }) => {
    const parts = Object.entries(versions).map(([what, version]) => `${what} ${version}`);
    return `${processor}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB; ${parts.join(', ')}`;
  });
  return (
    `Machine: ${where.join('; ')}. [Config](../bench/quality/${name}.json), ` +
    `[results](../bench/results/quality/${name}.json).`
  );
}
