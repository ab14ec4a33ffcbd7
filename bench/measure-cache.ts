/**
 * Child process of `bench/cache.ts` that measures one case and reports it:
 *
 *     measure-cache.ts scoring ROWS STORAGE THREADS [ROUNDS]      scores, masks and samples compared with the bare matrix product
 *     measure-cache.ts search ROWS f32 THREADS [ROUNDS]           draws by an index compared with draws that score all rows
 *     measure-cache.ts rows ROWS STORAGE THREADS                  rows inserted and refreshed per second, bytes per row
 */
import { CellIndex } from '../src/cache/cell-index.ts';
import { maskKnownPositives } from '../src/cache/masks.ts';
import { sampleSlots } from '../src/cache/samplers.ts';
import { ScoreTable } from '../src/cache/score-table.ts';
import { TableScores } from '../src/cache/table-scores.ts';
import { randomInts, rngKey } from '../src/util/rng.ts';
import { normalise, pieces, randomTable, range, topicTable, unitRows } from './cache-table.ts';
import { report } from './fresh-process.ts';
import { GemmTimer } from './gemm-rate.ts';
import { median, medians, minimum, type WithQuartiles } from './statistics.ts';

const DIMENSION = 256;
const BATCH = 128;
const INVERSE_TEMPERATURE = 20;

/** Times of scoring a table. */
export interface ScoringResult extends WithQuartiles {
  readonly case: 'scoring';
  readonly rows: number;
  readonly storage: 'f32' | 'f16';
  readonly threads: number;
  readonly rounds: number;
  /** Median time of the bare matrix product, in milliseconds. */
  readonly productMs: number;
  /** Median time of the sums of the scores, in milliseconds. */
  readonly sumsMs: number;
  /** Median time of masks, sums and draws together, in milliseconds. */
  readonly sampleMs: number;
  /** Median over the rounds of the time of sampling divided by the time of the product. */
  readonly ratio: number;
  /** Ratio of the best times. */
  readonly bestRatio: number;
  /** Rate of the product, in 10⁹ operations per second. */
  readonly productGflops: number;
}

/** Times and error of draws by an index. */
export interface SearchResult extends WithQuartiles {
  readonly case: 'search';
  readonly rows: number;
  readonly threads: number;
  readonly rounds: number;
  /** Time of computing the index, in milliseconds. */
  readonly buildMs: number;
  /** Median time of masks and draws that score all rows, in milliseconds. */
  readonly exactMs: number;
  /** Median time of masks and draws by the index, in milliseconds. */
  readonly indexMs: number;
  /** Scores by the index over scores of all rows. */
  readonly scoredRatio: number;
  /** Estimate of the total variation distance between both distributions, mean over queries and rounds. */
  readonly missedProbability: number;
  /** Mean of |log Ẑ − log Z| over queries and rounds. */
  readonly logPartitionError: number;
}

/** Speed and memory of inserting and refreshing rows. */
export interface RowsResult {
  readonly case: 'rows';
  readonly rows: number;
  readonly storage: 'f32' | 'f16';
  readonly threads: number;
  /**
   * Rows inserted per second, in batches of 128 into a full table. Half of the rows are in the table already.
   */
  readonly insertedPerSecond: number;
  /** Rows refreshed per second, in batches of 128 random slots. */
  readonly refreshedPerSecond: number;
  /** Rows per second that are only copied to random places of the same memory, in batches of 128. f32 tables only. */
  readonly copiedPerSecond?: number;
  /** Rows inserted per second into an empty table, 16,384 at a time. */
  readonly filledPerSecond: number;
  /** Rows refreshed per second over the whole table, slot after slot, 16,384 at a time. */
  readonly allRefreshedPerSecond: number;
  /** Size of a row, in bytes. */
  readonly bytesPerRow: number;
  /** Memory that the process holds in addition to that without the table, per row, in bytes. */
  readonly heldBytesPerRow: number;
}

const [kind, rowsGiven, storageGiven, threadsGiven, roundsGiven] = process.argv.slice(2);
const rows = Number(rowsGiven);
const storage = storageGiven === 'f16' ? 'f16' : 'f32';
const threads = Number(threadsGiven);

/**
 * Makes queries close to their positives, as a trained encoder does. Most of the weight of a block is then
 * masked.
 */
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
  return {
    case: 'scoring',
    rows,
    storage,
    threads,
    rounds,
    ...medians({
      productMs: product.timesMs,
      sumsMs,
      sampleMs,
      ratio: sampleMs.map((ms, i) => ms / product.timesMs[i]!),
    }),
    bestRatio: minimum(sampleMs) / minimum(product.timesMs),
    productGflops: product.flops / median(product.timesMs) / 1e6,
  };
}

async function search(): Promise<SearchResult> {
  const table = topicTable({ rows, dimension: DIMENSION });
  const scores = new TableScores(table, { threads });
  const index = new CellIndex(table, { threads });
  const startMs = performance.now();
  await index.update();
  const buildMs = performance.now() - startMs;
  const positiveRows = Int32Array.from({ length: BATCH }, (_, i) => Math.floor((i * rows) / BATCH) + 5);
  const queries = makeQueries(positiveRows, table);
  const sampler = { kind: 'softmax', k: 1, replacement: true } as const;
  const sample = async (draw: number, of?: CellIndex) => {
    const sampleStartMs = performance.now();
    const masked = maskKnownPositives(table, range(0, BATCH), { positives: () => [], positiveRows });
    const request = { queries, inverseTemperature: INVERSE_TEMPERATURE, masked, index: of };
    const found = await sampleSlots(scores, sampler, request, { seed: 1, draw, purpose: 'negatives' });
    return { ...found, tookMs: performance.now() - sampleStartMs };
  };
  const rounds = Number(roundsGiven ?? 20);
  const [exactMs, indexMs]: [number[], number[]] = [[], []];
  let [scored, missed, error] = [0, 0, 0];
  for (let i = -2; i < rounds; i++) {
    const exact = await sample(i + 2);
    const found = await sample(i + 2, index);
    if (i < 0) continue;
    exactMs.push(exact.tookMs);
    indexMs.push(found.tookMs);
    scored += found.search!.scored;
    missed += found.search!.missed;
    for (const [b, logZ] of found.logPartition!.entries()) error += Math.abs(logZ - exact.logPartition![b]!);
  }
  return {
    case: 'search',
    rows,
    threads,
    rounds,
    buildMs,
    ...medians({ exactMs, indexMs }),
    scoredRatio: scored / (rounds * BATCH * rows),
    missedProbability: missed / rounds,
    logPartitionError: error / (rounds * BATCH),
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
  let [insertMs, refreshMs, copyMs] = [0, 0, 0];
  const { data } = table.block(0, rows);
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
    if (data instanceof Float32Array) {
      randomInts(rngKey(1, step, 'places'), rows, numbers);
      const copyStartMs = performance.now();
      for (let i = 0; i < BATCH; i++)
        data.set(batch.subarray(i * DIMENSION, (i + 1) * DIMENSION), numbers[i]! * DIMENSION);
      copyMs += performance.now() - copyStartMs;
    }
    table.tick();
  }
  return {
    case: 'rows',
    rows,
    storage,
    threads,
    insertedPerSecond: (1000 * steps * BATCH) / insertMs,
    refreshedPerSecond: (1000 * steps * BATCH) / refreshMs,
    ...(copyMs > 0 && { copiedPerSecond: (1000 * steps * BATCH) / copyMs }),
    filledPerSecond,
    allRefreshedPerSecond,
    bytesPerRow: table.bytes / rows,
    heldBytesPerRow: (process.memoryUsage().arrayBuffers - heldBefore) / rows,
  };
}

report(kind === 'rows' ? rowRates() : kind === 'search' ? await search() : await scoring());
