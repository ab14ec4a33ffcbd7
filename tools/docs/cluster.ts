/**
 * @file Makes the tables of docs/guides/many-machines.md: sizes by arithmetic from measured rates, drills from
 *   bench/results/cluster-drills.json (`test/robustness/cluster-kills.ts --out`), and the simulation from
 *   bench/results/cluster-simulation.json (`npm run bench:cluster-simulation`).
 */
import type { SimulatedCase } from '../../bench/cluster/simulated-cases.ts';
import type { Machine } from '../../bench/result-file.ts';
import { formatBytes, formatCount, formatDuration, percent } from '../../src/util/format.ts';
import type { FaultResult } from '../../test/robustness/cluster-kills.ts';
import { type MadePage, markdownTable } from './page.ts';
import { count, measured, NOT_MEASURED, origin } from './performance-parts.ts';

/** Bytes of an embedding of 384 dimensions in f32. */
const VECTOR_BYTES = 384 * 4;
/** Bytes of a message's numbers, mark and length for a row. */
const ROW_BYTES = 16;
/** Token ids of a row on their way: 64 of two bytes. */
const TOKEN_BYTES = 64 * 2;
/** Bytes a second of a network of 1 Gbit/s. */
const GIGABIT = 125e6;
/** Texts a second of the kinds of worker in the table. */
const WORKERS = [1, 10, 100];

interface Encoding {
  readonly speeds: readonly {
    readonly dtype: string;
    readonly processes: number;
    readonly textsPerSecond: number;
  }[];
}

/** Makes the generated parts of the guide. */
export function clusterPage(): MadePage {
  return {
    page: 'docs/guides/many-machines.md',
    blocks: { sizes: sizes(), drills: drills(), simulation: simulation() },
  };
}

function sizes(): string {
  const encoding = measured<Encoding>('encode');
  const f32 = encoding?.speeds.find(({ dtype, processes }) => dtype === 'f32' && processes === 1);
  if (!f32) return NOT_MEASURED;
  const hours = (rows: number, workers: number) =>
    formatDuration((1000 * rows) / f32.textsPerSecond / workers);
  const rowBytes = VECTOR_BYTES + ROW_BYTES + TOKEN_BYTES + ROW_BYTES;
  const table = markdownTable(
    [
      ...[
        'rows',
        'vectors, f32',
        ...WORKERS.map((workers) => `${workers} ${workers === 1 ? 'worker' : 'workers'}`),
      ],
      ...['through the server', 'at 1 Gbit/s'],
    ],
    [1e6, 1e8, 1e9].map((rows) => [
      count(rows),
      formatBytes(rows * VECTOR_BYTES),
      ...WORKERS.map((workers) => hours(rows, workers)),
      formatBytes(rows * rowBytes),
      formatDuration((1000 * rows * rowBytes) / GIGABIT),
    ]),
  );
  return [
    table,
    '',
    `Arithmetic from one measured rate: ${count(f32.textsPerSecond)} texts a second of a worker with two cores (MiniLM’s shape, f32, ` +
      '[`bench/results/encode.json`](../../bench/results/encode.json)); 384 dimensions, texts of 64 tokens. Bytes go into the server once and out of it once.',
  ].join('\n');
}

function drills(): string {
  const found = measured<Machine & { readonly faults: readonly FaultResult[] }>('cluster-drills');
  if (!found) return NOT_MEASURED;
  return [
    markdownTable(
      [
        'fault',
        'rounds',
        'lost or wrong',
        'median time, s',
        'longest standstill, s',
        'blocks embedded again',
      ],
      found.faults.map(({ title, rounds, failed, seconds, longestStandstill, again }) => [
        ...[
          title,
          count(rounds),
          count(failed),
          seconds.toFixed(1),
          longestStandstill.toFixed(1),
          count(again),
        ],
      ]),
    ),
    '',
    origin(found, 'cluster-drills').replace('../bench', '../../bench'),
  ].join('\n');
}

function simulation(): string {
  const found = measured<{ readonly cases: readonly SimulatedCase[] }>('cluster-simulation');
  if (!found) return NOT_MEASURED;
  return [
    markdownTable(
      [
        ...['cluster', 'rows', 'time', 'of the ideal', 'handed out again', 'refused results', 'streams busy'],
        ...['coordinator busy', 'bytes into the server'],
      ],
      found.cases.map(({ name, settings, result }) => [
        ...[name, formatCount(settings.rows), formatDuration(1000 * result.seconds)],
        percent(result.idealSeconds / result.seconds, 0),
        ...[formatCount(result.tasks.redelivered), formatCount(result.results.refused)],
        ...[
          percent(result.busy.streams, 0),
          percent(result.busy.coordinator, 0),
          formatBytes(result.bytes.in),
        ],
      ]),
    ),
    '',
    'Ideal: rows by the sum of the workers’ rates. From [`bench/results/cluster-simulation.json`](../../bench/results/cluster-simulation.json).',
  ].join('\n');
}
