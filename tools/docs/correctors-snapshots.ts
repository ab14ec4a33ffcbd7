/**
 * @file Makes the part of docs/correctors.md on the snapshots of training runs, from bench/results/corrector/snapshots.json,
 *   snapshots-minilm.json and snapshots-minilm-fast.json (`bench/corrector/snapshots.ts`).
 */
import type { Fitted, SnapshotResults } from '../../bench/corrector/snapshot-config.ts';
import { chartFile } from '../../src/compare/chart-file.ts';
import type { Chart } from '../../src/compare/draw-chart.ts';
import type { CorrectorKind } from '../../src/correctors/corrector.ts';
import { count } from '../../src/util/format.ts';
import { hasResult, NOT_MEASURED, readResult, markdownTable as table } from './page.ts';

const SNAPSHOTS = 'corrector/snapshots.json';

const nats = (value: number) => value.toFixed(value < 0.1 ? 4 : 3);

/** Charts of the blocks: SVG text by file name. */
export const snapshotCharts: Record<string, string> = {};

function write(file: string, chart: Chart, arms: readonly string[]): string {
  snapshotCharts[`docs/correctors/${file}`] = chartFile(chart, arms);
  return `![${chart.title}](correctors/${file})`;
}

/** KL of the uncorrected embeddings, by snapshot. */
const staleKlOf = ({ stale }: SnapshotResults) => new Map(stale.map(({ step, kl }) => [step, kl]));

/** Makes the block of the snapshots of one run. */
function blockOf(file: string): string {
  if (!hasResult(file)) return NOT_MEASURED;
  const results = readResult<SnapshotResults>(file);
  const { config, stale, fitted, name } = results;
  const kinds: readonly CorrectorKind[] = config.correctors;
  // With few pairs, the points of several correctors coincide.
  const shownSample = Math.max(...config.samples);
  const staleKl = staleKlOf(results);
  const scatter = write(
    `${name}.svg`,
    {
      id: name,
      title: `${stale.length} snapshots, correctors fitted to ${count(shownSample)} documents`,
      kind: 'scatter',
      xLabel: 'KL(P ‖ P stale), nats',
      yLabel: 'KL(P ‖ P corrected), nats',
      xUnit: 'value',
      yUnit: 'value',
      logX: true,
      logY: true,
      unlabelled: true,
      parity: true,
      points: fitted
        .filter(({ sample }) => sample === shownSample)
        .map(({ corrector, step, kl }) => ({ arm: kinds.indexOf(corrector), x: staleKl.get(step)!, y: kl })),
    },
    kinds,
  );
  const of = (step: number, kind: string): Fitted =>
    fitted.find((one) => one.step === step && one.corrector === kind && one.sample === shownSample)!;
  const snapshots = table(
    [
      'step',
      'mean ‖b − g‖²',
      'KL stale',
      ...kinds.map((kind) => `\`${kind}\``),
      'top-10 recall, stale',
      '`ridge`',
      '`mlp`',
    ],
    stale.map(({ step, distance, kl, recall }) => [
      count(step),
      nats(distance),
      nats(kl),
      ...kinds.map((kind) => nats(of(step, kind).kl)),
      recall.toFixed(3),
      of(step, 'ridge').recall.toFixed(3),
      of(step, 'mlp').recall.toFixed(3),
    ]),
  );
  const ratios = (kind: string, sample: number) =>
    fitted
      .filter((one) => one.corrector === kind && one.sample === sample)
      .map(({ step, kl }) => kl / staleKl.get(step)!);
  const ratioTable = table(
    ['corrector', 'parameters', ...config.samples.map((sample) => `${count(sample)} documents`)],
    kinds.map((kind) => [
      `\`${kind}\``,
      count(of(stale[0]!.step, kind).parameters),
      ...config.samples.map((sample) => {
        const found = ratios(kind, sample);
        const above = found.filter((ratio) => ratio > 1).length;
        const range = `${Math.min(...found).toFixed(2)} to ${Math.max(...found).toFixed(2)}`;
        return above > 0 ? `**${range}**, above in ${above}` : range;
      }),
    ]),
  );
  const facts =
    `${count(results.documents)} documents, ${results.queries} held-out queries, D = ${results.dimension}, ` +
    `β = ${results.inverseTemperature}; stale embeddings from step ${config.first}.`;
  return [
    scatter,
    '',
    `${facts} Fitted to ${count(shownSample)} documents; KL in nats, over all documents:`,
    '',
    snapshots,
    '',
    `KL corrected over KL stale, the least and the largest of the ${stale.length} snapshots; bold where one lies above the parity line:`,
    '',
    ratioTable,
    '',
    `${results.machine}. From [\`bench/results/${file}\`](../bench/results/${file}).`,
  ].join('\n');
}

/**
 * Returns the curves of a regime by name. There is one of `mlp` for each width and one of `ridge` for each
 * strength.
 */
function curves(grid: readonly Fitted[]): Map<string, Fitted[]> {
  const found = new Map<string, Fitted[]>();
  for (const one of grid) {
    const { corrector, hidden, ridge } = one;
    const name = `${corrector}${hidden ? `, width ${hidden}` : ''}${ridge ? `, strength ${ridge}` : ''}`;
    found.set(name, [...(found.get(name) ?? []), one]);
  }
  return found;
}

const regimesOf = readResult<SnapshotResults>(SNAPSHOTS);
const { config } = regimesOf;
const staleKl = staleKlOf(regimesOf);
const blocks = Object.entries(regimesOf.regimes).map(([name, grid]) => {
  const step = grid[0]!.step;
  const unchanged = config.regimes.samples.map((sample) => ({
    sample,
    kl: staleKl.get(step)!,
    parameters: 0,
  }));
  const lines: [string, readonly { sample: number; kl: number; parameters: number }[]][] = [
    ['stale', unchanged],
    ...curves(grid),
  ];
  const title = `${name === 'mild' ? 'Mild' : 'Strong'} staleness: step ${config.first} to step ${count(step)}`;
  const picture = write(
    `${name}.svg`,
    {
      id: name,
      title,
      kind: 'lines',
      xLabel: 'documents fitted to',
      yLabel: 'KL(P ‖ P corrected), nats',
      xUnit: 'count',
      yUnit: 'value',
      logX: true,
      logY: true,
      xTicks: config.regimes.samples,
      series: lines.map(([, points], arm) => ({
        arm,
        x: points.map(({ sample }) => sample),
        y: points.map(({ kl }) => kl),
      })),
    },
    lines.map(([line]) => line),
  );
  const rows = lines.map(([line, points]) => [
    line === 'identity'
      ? 'stale'
      : `\`${line.split(',')[0]}\`${line.includes(',') ? line.slice(line.indexOf(',')) : ''}`,
    count(points[0]!.parameters),
    ...points.map(({ kl }) => nats(kl)),
  ]);
  const head = ['KL, nats', 'parameters', ...config.regimes.samples.map(count)];
  return `${picture}\n\n${table(head, rows)}`;
});
/** Blocks on the snapshots of runs, and on the number of parameters. */
export const snapshotBlocks: Readonly<Record<string, string>> = {
  'corrector-snapshots': blockOf(SNAPSHOTS),
  'corrector-snapshots-minilm': blockOf('corrector/snapshots-minilm.json'),
  'corrector-snapshots-minilm-fast': blockOf('corrector/snapshots-minilm-fast.json'),
  'corrector-parameters': blocks.join('\n\n'),
};
