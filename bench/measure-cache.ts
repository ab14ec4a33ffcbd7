/**
 * The child of `bench/cache.ts`: measures one case and reports it.
 *
 *     measure-cache.ts scoring ROWS STORAGE THREADS [ROUNDS]      scores, masks and samples against the bare matrix product
 *     measure-cache.ts rows ROWS STORAGE THREADS                  rows inserted and refreshed per second, bytes per row
 */
import { maskKnownPositives } from '../src/cache/masks.ts';
import { sampleSlots } from '../src/cache/samplers.ts';
import { ScoreTable } from '../src/cache/score-table.ts';
import { TableScores } from '../src/cache/table-scores.ts';
import { randomInts, rngKey } from '../src/util/rng.ts';
import { normalise, pieces, randomTable, range, unitRows } from './cache-table.ts';
import { report } from './fresh-process.ts';
import { GemmTimer } from './gemm-rate.ts';
import { median, minimum } from './statistics.ts';

const DIMENSION = 256;
const BATCH = 128;
const INVERSE_TEMPERATURE = 20;

export interface ScoringResult {
  readonly case: 'scoring';
  readonly rows: number;
  readonly storage: 'f32' | 'f16';
  readonly threads: number;
  readonly rounds: number;
  /** Medians: the bare product, the sums of the scores, and masks, sums and draws together. */
  readonly productMs: number;
  readonly sumsMs: number;
  readonly sampleMs: number;
  /** Median over the rounds of what a round's sampling took over what its product took; and the best over the best. */
  readonly ratio: number;
  readonly bestRatio: number;
  readonly productGflops: number;
}
export interface RowsResult {
  readonly case: 'rows';
  readonly rows: number;
  readonly storage: 'f32' | 'f16';
  readonly threads: number;
  /** Of a batch of 128: into a full table, of which half are there already; random slots. */
  readonly insertedPerSecond: number;
  readonly refreshedPerSecond: number;
  /** Of the whole table, 16,384 rows at a time: into an empty one; slot after slot. */
  readonly filledPerSecond: number;
  readonly allRefreshedPerSecond: number;
  readonly bytesPerRow: number;
  /** What the process holds more than without the table, each row. */
  readonly heldBytesPerRow: number;
}

const [kind, rowsGiven, storageGiven, threadsGiven, roundsGiven] = process.argv.slice(2);
const rows = Number(rowsGiven);
const storage = storageGiven === 'f16' ? 'f16' : 'f32';
const threads = Number(threadsGiven);

/** Queries that lie near their right answers, as those of a trained encoder do: most of a block's weight is then masked. */
function makeQueries(positives: Int32Array, table: ScoreTable): Float32Array {
  const queries = unitRows(BATCH, DIMENSION, 'queries');
  const right = table.read(table.slotsOf(positives));
  for (let i = 0; i < queries.length; i++) queries[i] = right[i]! + 0.7 * queries[i]!;
  normalise(queries, DIMENSION);
  return queries;
}

async function scoring(): Promise<ScoringResult> {
  const table = randomTable({ rows, dimension: DIMENSION, storage });
  const scores = new TableScores(table, { threads });
  const b = storage === 'f32' ? (table.block(0, rows).data as Float32Array<ArrayBuffer>) : undefined;
  const shape = { name: 'bare', m: BATCH, k: DIMENSION, n: rows, transB: true };
  const product = await GemmTimer.create(shape, { threads, ...(b && { b }) });
  const positiveRows = Int32Array.from({ length: BATCH }, (_, i) => Math.floor((i * rows) / BATCH) + 5);
  const queries = makeQueries(positiveRows, table);
  const queryRows = range(0, BATCH);
  const positives = (query: number) => [positiveRows[query]!, (positiveRows[query]! + 77) % rows];
  const request = { queries, inverseTemperature: INVERSE_TEMPERATURE };
  const sampler = { kind: 'softmax', k: 1, replacement: true } as const;
  const sample = async (draw: number) => {
    const masked = maskKnownPositives(table, queryRows, { positives, positiveRows });
    await sampleSlots(scores, sampler, { ...request, masked }, { seed: 1, draw, purpose: 'negatives' });
  };
  const scaled = queries.map((x) => INVERSE_TEMPERATURE * x);

  const rounds = Number(roundsGiven ?? Math.max(12, Math.min(60, Math.round(2 ** 23 / rows))));
  const sumsMs: number[] = [];
  const sampleMs: number[] = [];
  for (let i = -2; i < rounds; i++) {
    await product.measure(1);
    const startMs = performance.now();
    await sample(i + 2);
    const sampledMs = performance.now();
    await scores.sums(scaled);
    sampleMs.push(sampledMs - startMs);
    sumsMs.push(performance.now() - sampledMs);
  }
  for (const times of [product.timesMs, sumsMs, sampleMs]) times.splice(0, 2);
  const productMs = median(product.timesMs);
  return {
    case: 'scoring',
    rows,
    storage,
    threads,
    rounds,
    productMs,
    sumsMs: median(sumsMs),
    sampleMs: median(sampleMs),
    ratio: median(sampleMs.map((ms, i) => ms / product.timesMs[i]!)),
    bestRatio: minimum(sampleMs) / minimum(product.timesMs),
    productGflops: product.flops / productMs / 1e6,
  };
}

function rowRates(): RowsResult {
  const piece = unitRows(Math.min(rows, 16_384), DIMENSION, 'piece');
  const heldBefore = process.memoryUsage().arrayBuffers;
  const table = new ScoreTable({ rows, dimension: DIMENSION, documents: 2 * rows, storage });
  const perSecond = (count: number, work: () => void): number => {
    const startMs = performance.now();
    work();
    return (1000 * count) / (performance.now() - startMs);
  };
  const filledPerSecond = perSecond(rows, () => {
    for (const { first, end } of pieces(rows))
      table.insert(range(first, end), piece.subarray(0, (end - first) * DIMENSION), { version: 0 });
  });
  const allRefreshedPerSecond = perSecond(rows, () => {
    for (const { first, end } of pieces(rows))
      table.refresh(range(first, end), piece.subarray(0, (end - first) * DIMENSION), { version: 0 });
  });

  const batch = piece.subarray(0, BATCH * DIMENSION);
  const steps = 400;
  let [insertMs, refreshMs] = [0, 0];
  for (let step = 0; step < steps; step++) {
    const numbers = new Int32Array(BATCH);
    randomInts(rngKey(1, step, 'documents'), 2 * rows, numbers);
    const startMs = performance.now();
    table.insert(numbers, batch);
    insertMs += performance.now() - startMs;
    randomInts(rngKey(1, step, 'slots'), rows, numbers);
    const refreshStartMs = performance.now();
    table.refresh(numbers, batch);
    refreshMs += performance.now() - refreshStartMs;
    table.tick();
  }
  return {
    case: 'rows',
    rows,
    storage,
    threads,
    insertedPerSecond: (1000 * steps * BATCH) / insertMs,
    refreshedPerSecond: (1000 * steps * BATCH) / refreshMs,
    filledPerSecond,
    allRefreshedPerSecond,
    bytesPerRow: table.bytes / rows,
    heldBytesPerRow: (process.memoryUsage().arrayBuffers - heldBefore) / rows,
  };
}

report(kind === 'rows' ? rowRates() : await scoring());
