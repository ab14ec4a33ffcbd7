/**
 * Child process of `bench/corrector.ts` that measures one case and reports it:
 *
 *     measure-corrector.ts rows KIND D ROWS STORAGE THREADS [ROUNDS]    rows corrected per second, compared with the rate of matrix products
 *     measure-corrector.ts learn KIND D THREADS                         time of an update of the corrector
 *     measure-corrector.ts draws DRIFT THREADS [ROUNDS]                 draws from rows that are corrected as they are drawn
 *     measure-corrector.ts encode THREADS                               texts that the reference encoder embeds per second
 */
import { CorrectedDistribution, candidatesPerQuery } from '../src/cache/corrected-distribution.ts';
import { ScoreTable } from '../src/cache/score-table.ts';
import { TableDistribution } from '../src/cache/table-distribution.ts';
import { TableScores } from '../src/cache/table-scores.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from '../src/correctors/corrector.ts';
import { createCorrector } from '../src/correctors/create-corrector.ts';
import { Graph } from '../src/graph/graph.ts';
import { Encoder } from '../src/models/retriever/encoder.ts';
import { declareParameters, initialValue, ROWS_INPUT } from '../src/nn/parameters.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { f32ToF16 } from '../src/util/half.ts';
import { randomInts, rngKey } from '../src/util/rng.ts';
import { normalise, pieces, range, topicTable, unitRows } from './cache-table.ts';
import { report } from './fresh-process.ts';
import { GemmTimer, SQUARE } from './gemm-rate.ts';
import { medians, minimum, type WithQuartiles } from './statistics.ts';
import { STEP_CASES } from './training-step.ts';

/** Speed of a corrector. */
export interface CorrectedRowsResult extends WithQuartiles {
  readonly case: 'rows';
  readonly kind: CorrectorKind;
  readonly dimension: number;
  readonly rows: number;
  readonly storage: 'f32' | 'f16';
  readonly threads: number;
  readonly rounds: number;
  readonly flopsPerRow: number;
  readonly rowsPerSecond: number;
  /** Median rate of the 1024³ product measured between the rounds, in 10⁹ operations per second. */
  readonly gemmGflops: number;
  /** Median rate of the corrector, in 10⁹ operations per second. */
  readonly gflops: number;
  /** Median over the rounds of the corrector's rate divided by that of the product just before. */
  readonly share: number;
  /** Best rate of the corrector divided by the best rate of the product. */
  readonly bestShare: number;
}
/** Time of an update of a corrector. */
export interface CorrectorLearnResult {
  readonly case: 'learn';
  readonly kind: CorrectorKind;
  readonly dimension: number;
  readonly threads: number;
  readonly pairs: number;
  /** Mean time over 40 updates, including refits, in milliseconds. */
  readonly updateMs: number;
}
/** Error of draws from rows that are corrected as they are drawn. */
export interface CorrectedDrawsResult {
  readonly case: 'draws';
  readonly rows: number;
  readonly dimension: number;
  /** Length of the drift that the corrector has learnt. */
  readonly drift: number;
  /** Mean squared distance of corrected rows from the rows as they are. */
  readonly moved: number;
  /** KL(P̃ ‖ P) of the softmax over the corrected rows and over the rows as they are, mean over the queries, in nats. */
  readonly kl: number;
  /** Candidates of each query. */
  readonly candidates: number;
  /** Number of draws that were compared. */
  readonly draws: number;
  /** Share of the draws that are not those of 16 times as many candidates, which bounds the total variation distance. */
  readonly differing: number;
  /** Mean estimate of this share. */
  readonly missedProbability: number;
  /** Mean of |log Ẑ − log Z̃|. */
  readonly logPartitionError: number;
}
/** Speed of the reference encoder. */
export interface EncodeResult extends WithQuartiles {
  readonly case: 'encode';
  readonly title: string;
  readonly threads: number;
  readonly textsPerSecond: number;
}

const [measured, ...args] = process.argv.slice(2);
const kindOf = (name: string | undefined): CorrectorKind => {
  const kind = CORRECTOR_KINDS.find((known) => known === name);
  if (!kind) throw new Error(`unknown corrector "${name}"`);
  return kind;
};
/** Number of pairs in a training step: positives, negatives and some random documents. */
const PAIRS = 256;
const INVERSE_TEMPERATURE = 20;
/** Draws of a query in each round, for a divergence. */
const PER_QUERY = 16;
/** Updates of a corrector until it has learnt a drift. */
const DRIFT_STEPS = 150;
/** Number of products before each round. The fastest one counts. */
const PRODUCTS = 5;

async function learned(kind: CorrectorKind, dimension: number, threads: number, steps: number) {
  const corrector = await createCorrector(kind, { dimension, compute: { threads } });
  const queries = unitRows(64, dimension, 'queries').map((x) => INVERSE_TEMPERATURE * x);
  const stale = unitRows(PAIRS, dimension, 'stale');
  const fresh = unitRows(PAIRS, dimension, 'fresh');
  for (let i = 0; i < fresh.length; i++) fresh[i] = stale[i]! + 0.1 * fresh[i]!;
  const learn = (step: number) => corrector.learn({ stale, fresh, queries }, step);
  for (let step = 1; step <= steps; step++) await learn(step);
  return { corrector, learn };
}

async function rows(): Promise<CorrectedRowsResult> {
  const [name, dimensionGiven, rowsGiven, storageGiven, threadsGiven, roundsGiven = '5'] = args;
  const [dimension, count, threads, rounds] = [dimensionGiven, rowsGiven, threadsGiven, roundsGiven].map(
    Number,
  ) as [number, number, number, number];
  const storage = storageGiven === 'f16' ? 'f16' : 'f32';
  const { corrector } = await learned(kindOf(name), dimension, threads, 2);
  const memory = storage === 'f16' ? new Uint16Array(count * dimension) : new Float32Array(count * dimension);
  for (const { first, end } of pieces(count)) {
    // All pieces use equal numbers, since the values do not affect the time.
    const piece = unitRows(Math.min(1024, end - first), dimension, 'piece');
    const values = storage === 'f16' ? f32ToF16(piece) : piece;
    for (let at = first; at < end; at += 1024)
      memory.set(values.subarray(0, Math.min(1024, end - at) * dimension), at * dimension);
  }
  const table = hostTensor(storage, [count, dimension], memory);
  const into = new Float32Array(count * dimension);
  const product = await GemmTimer.create(SQUARE, { threads });
  await product.measure(PRODUCTS);
  await corrector.correct(table, { into });
  const flops = count * corrector.flopsPerRow;
  const [rates, products, times]: number[][] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    product.timesMs.length = 0;
    await product.measure(PRODUCTS);
    products!.push(product.flops / minimum(product.timesMs) / 1e6);
    const startMs = performance.now();
    await corrector.correct(table, { into });
    times!.push(performance.now() - startMs);
    rates!.push(flops / times!.at(-1)! / 1e6);
  }
  const best = (values: readonly number[]) => Math.max(...values);
  return {
    case: 'rows',
    kind: corrector.kind,
    dimension,
    rows: count,
    storage,
    threads,
    rounds,
    flopsPerRow: corrector.flopsPerRow,
    ...medians({
      rowsPerSecond: times!.map((ms) => (1000 * count) / ms),
      gemmGflops: products!,
      gflops: rates!,
      share: rates!.map((rate, i) => rate / products![i]!),
    }),
    bestShare: best(rates!) / best(products!),
  };
}

async function learn(): Promise<CorrectorLearnResult> {
  const [name, dimensionGiven, threadsGiven] = args;
  const [dimension, threads] = [Number(dimensionGiven), Number(threadsGiven)];
  const { corrector, learn } = await learned(kindOf(name), dimension, threads, 40);
  const steps = 40;
  const startMs = performance.now();
  for (let step = 41; step <= 40 + steps; step++) await learn(step);
  const updateMs = (performance.now() - startMs) / steps;
  return { case: 'learn', kind: corrector.kind, dimension, threads, pairs: PAIRS, updateMs };
}

/** Trains an mlp to a drift of rows, and returns the corrected rows. */
async function drifted(table: ScoreTable, drift: number, threads: number) {
  const { dimension: D, rows: N } = table;
  const corrector = await createCorrector('mlp', { dimension: D, compute: { threads } });
  const directions = unitRows(D, D, 'directions');
  const queries = unitRows(64, D, 'queries').map((x) => INVERSE_TEMPERATURE * x);
  const slots = new Int32Array(PAIRS);
  for (let step = 1; step <= DRIFT_STEPS; step++) {
    randomInts(rngKey(1, step, 'pairs'), N, slots);
    const stale = table.read(slots);
    const fresh = stale.slice();
    // Each direction is moved along another one, by as much as a row has of it, up to a bound.
    for (let n = 0; n < PAIRS; n++) {
      for (let i = 0; i < D; i++) {
        let along = 0;
        for (let d = 0; d < D; d++) along += directions[i * D + d]! * stale[n * D + d]!;
        fresh[n * D + ((i + 1) % D)]! += drift * Math.tanh(2 * along);
      }
    }
    normalise(fresh, D);
    await corrector.learn({ stale, fresh, queries }, step);
  }
  return { corrector, rows: await corrector.correct(table.block(0, N)) };
}

async function draws(): Promise<CorrectedDrawsResult> {
  const [driftGiven, threadsGiven, roundsGiven = '16'] = args;
  const [drift, threads, rounds] = [Number(driftGiven), Number(threadsGiven), Number(roundsGiven)];
  const [N, D, B] = [32_768, 128, 64];
  const table = topicTable({ rows: N, dimension: D });
  const { rows: corrected } = await drifted(table, drift, threads);
  const view = new ScoreTable({ rows: N, dimension: D, documents: N });
  view.fill(range(0, N), corrected, { version: 0 });
  const queries = unitRows(B, D, 'queries');
  for (let b = 0; b < B; b++)
    for (let d = 0; d < D; d++) queries[b * D + d]! += 1.4 * corrected[((b * N) / B) * D + d]!;
  normalise(queries, D);
  const scaled = queries.map((x) => INVERSE_TEMPERATURE * x);
  const [source, exact] = [table, view].map((of) => new TableScores(of, { threads })) as [
    TableScores,
    TableScores,
  ];
  const [stale, fresh] = [
    await TableDistribution.create(source, scaled),
    await TableDistribution.create(exact, scaled),
  ];
  const candidates = candidatesPerQuery(1, B);
  let [differing, missed, error, kl] = [0, 0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const made = async (most: number): Promise<CorrectedDistribution> =>
      await CorrectedDistribution.create(stale, source, scaled, {
        correction: { mostRows: most * B, correct: async (slots) => view.read(slots) },
        draws: 1,
        replacement: true,
        key: rngKey(1, round, 'candidates'),
      });
    // The first candidates are the same, so that draws differ only where a later one comes first.
    const [own, larger] = [await made(candidates), await made(16 * candidates)];
    const key = rngKey(1, round, 'draws');
    const [few, many] = [await own.draw(1, key), await larger.draw(1, key)];
    for (const [b, slot] of few.slots.entries()) {
      differing += Number(slot !== many.slots[b]) / (rounds * B);
      error += Math.abs(own.logPartition[b]! - fresh.logPartition[b]!) / (rounds * B);
    }
    missed += own.report.missed / rounds;
    // Draws from P̃ give its divergence from P.
    const { slots, scores } = await fresh.draw(PER_QUERY, key, { replacement: true });
    const queryOf = slots.map((_, i) => Math.floor(i / PER_QUERY));
    const before = await source.pairScores(scaled, { queryOf, slots });
    for (const [i, b] of queryOf.entries()) {
      const [p, q] = [scores[i]! - fresh.logPartition[b]!, before[i]! - stale.logPartition[b]!];
      kl += (p - q) / (rounds * slots.length);
    }
  }
  const rows = table.block(0, N).data as Float32Array;
  let moved = 0;
  for (let i = 0; i < rows.length; i++) moved += (rows[i]! - corrected[i]!) ** 2 / N;
  return {
    case: 'draws',
    rows: N,
    dimension: D,
    drift,
    moved,
    kl,
    candidates,
    draws: rounds * B,
    differing,
    missedProbability: missed,
    logPartitionError: error,
  };
}

async function encode(): Promise<EncodeResult> {
  const threads = Number(args[0]);
  const { encoder: shape } = STEP_CASES.find(({ id }) => id === 't128')!;
  const [texts, tokens] = [32, 128];
  const encoder = new Encoder(shape);
  const graph = new Graph('encode');
  const p = declareParameters(graph, encoder.specs);
  const ids = graph.input('ids', 'i64', [texts, tokens]);
  const mask = graph.input('mask', 'f32', [texts, tokens]);
  graph.output('embeddings', encoder.embed(p.get, { ids, mask }));
  const program = await Program.compile(graph, { threads });
  const feeds = {
    ...Object.fromEntries(
      encoder.specs.map((spec) => [spec.name, hostTensor('f32', spec.shape, initialValue(spec, 1))]),
    ),
    [ROWS_INPUT]: hostTensor(
      'i64',
      [1500],
      BigInt64Array.from({ length: 1500 }, (_, i) => BigInt(i)),
    ),
    ids: hostTensor(
      'i64',
      [texts, tokens],
      BigInt64Array.from({ length: texts * tokens }, (_, i) => BigInt((i * 7919) % 1500)),
    ),
    mask: hostTensor('f32', [texts, tokens], new Float32Array(texts * tokens).fill(1)),
  };
  const times: number[] = [];
  for (let i = -2; i < 6; i++) {
    const startMs = performance.now();
    await program.run(feeds);
    if (i >= 0) times.push(performance.now() - startMs);
  }
  return {
    case: 'encode',
    title: `transformer, 6 layers, D 384, T ${tokens}`,
    threads,
    ...medians({ textsPerSecond: times.map((ms) => (1000 * texts) / ms) }),
  };
}

const measurements = { rows, learn, draws, encode };
report(await measurements[measured as keyof typeof measurements]());
