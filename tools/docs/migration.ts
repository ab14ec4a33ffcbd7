/**
 * @file Makes the tables and charts of docs/migration.md from bench/results/corrector/migration.json
 *   (`bench/corrector/migration.ts`).
 */
import type {
  LazyRefresh,
  MigrationEntry,
  MigrationPoint,
  MigrationResults,
} from '../../bench/corrector/migration-results.ts';
import { chartFile } from '../../src/compare/chart-file.ts';
import type { Series } from '../../src/compare/draw-chart.ts';
import { count } from '../../src/util/format.ts';
import { type MadePage, markdownTable, readResult } from './page.ts';

const RESULTS = 'corrector/migration.json';
const ARMS = ['moved by the corrector', 'old vectors as they are', 'left out', 'all re-embedded'];

/** Makes the generated parts of docs/migration.md. */
export function migrationPage(): MadePage {
  const { entries } = readResult<MigrationResults>(RESULTS);
  const charts = Object.fromEntries(
    entries.map((entry) => [`docs/migration/${fileOf(entry)}`, chartFile(chartOf(entry), ARMS)]),
  );
  return {
    page: 'docs/migration.md',
    blocks: {
      shares: sharesTable(entries),
      samples: samplesTable(entries),
      lazy: lazyTable(entries),
      charts: entries.map((entry) => `![${entry.name}](migration/${fileOf(entry)})`).join('\n\n'),
    },
    charts,
  };
}

const fileOf = ({ name }: MigrationEntry): string => `${name.replace(/[^a-z0-9]+/gi, '-').toLowerCase()}.svg`;

/** Mean and standard deviation over the seeds. */
function over(values: readonly number[]): { mean: number; sd: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: Math.sqrt(squares / Math.max(1, values.length - 1)) };
}

const at = (points: readonly MigrationPoint[], share: number) =>
  points.filter((point) => point.share === share);

function cell(points: readonly MigrationPoint[], full: number): string {
  if (points.length === 0) return '–';
  const { mean, sd } = over(points.map(({ quality }) => quality));
  return `${mean.toFixed(3)} ± ${sd.toFixed(3)} (${((100 * mean) / full).toFixed(1)} %)`;
}

function sharesTable(entries: readonly MigrationEntry[]): string {
  const head = [
    '',
    'old model',
    'corrector, 0 %',
    '10 %',
    '50 %',
    'old vectors, 0 %',
    'left out, 50 %',
    'new model',
    'chosen',
  ];
  const rows = entries.map(({ name, old, full, corrected, stale, missing, kinds }) => [
    name,
    old.toFixed(3),
    ...[0, 0.1, 0.5].map((share) => cell(at(corrected, share), full)),
    cell(at(stale, 0), full),
    cell(at(missing, 0.5), full),
    full.toFixed(3),
    [...new Set(kinds)].join(', '),
  ]);
  const facts = entries.map(
    ({ name, documents, queries }) => `${name}: ${count(documents)} documents, ${count(queries)} queries`,
  );
  return (
    `${markdownTable(head, rows)}\n\nnDCG@10, mean ± standard deviation over three seeds of the sample and of the order of the backfill, ` +
    `in parentheses the share of the new model’s. ${facts.join('; ')}. From ` +
    `[\`bench/results/${RESULTS}\`](../bench/results/${RESULTS}).`
  );
}

function samplesTable(entries: readonly MigrationEntry[]): string {
  const sizes = [...new Set(entries.flatMap(({ samples }) => samples.map(({ sample }) => sample)))];
  const head = [
    'corrector alone, 0 %',
    ...[...sizes, entries[0]!.sample].map((size) => `${count(size)} documents`),
  ];
  const rows = entries.map(({ name, full, samples, corrected }) => [
    name,
    ...sizes.map((size) =>
      cell(
        samples.filter(({ sample }) => sample === size),
        full,
      ),
    ),
    cell(at(corrected, 0), full),
  ]);
  return markdownTable(head, rows);
}

function lazyTable(entries: readonly MigrationEntry[]): string {
  const head = ['', 'documents met', 'all moved', 'those met embedded', 'as many at random', 'all embedded'];
  const rows = entries.map(({ name, lazy }) => {
    const mean = (of: (each: LazyRefresh) => number) => over(lazy.map(of)).mean;
    const full = mean((each) => each.full);
    const share = (of: (each: LazyRefresh) => number) =>
      `${mean(of).toFixed(3)} (${((100 * mean(of)) / full).toFixed(1)} %)`;
    return [
      name,
      `${(100 * mean((each) => each.share)).toFixed(0)} %`,
      share((each) => each.before),
      share((each) => each.met),
      share((each) => each.random),
      full.toFixed(3),
    ];
  });
  return markdownTable(head, rows);
}

function chartOf(entry: MigrationEntry) {
  const shares = [...new Set(entry.corrected.map(({ share }) => share))];
  const line = (arm: number, points: readonly MigrationPoint[]): Series[] => {
    const x = shares.filter((share) => at(points, share).length > 0);
    const values = x.map((share) => over(at(points, share).map(({ quality }) => quality)));
    if (x.length === 0) return [];
    return [
      {
        arm,
        x: [...x.map((share) => 100 * share), 100],
        y: [...values.map(({ mean }) => mean), entry.full],
        sd: [...values.map(({ sd }) => sd), 0],
      },
    ];
  };
  return {
    id: fileOf(entry),
    title: entry.name,
    kind: 'lines',
    xLabel: '% of the documents embedded by the new model',
    yLabel: 'nDCG@10',
    xUnit: 'count',
    yUnit: 'value',
    xTicks: [0, 10, 50, 100],
    series: [
      ...line(0, entry.corrected),
      ...line(1, entry.stale),
      ...line(2, entry.missing),
      { arm: 3, x: [0, 100], y: [entry.full, entry.full] },
    ],
  } as const;
}
