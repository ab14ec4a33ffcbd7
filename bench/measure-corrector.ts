/**
 * Child process of `bench/corrector.ts` that measures one case and reports it:
 *
 *     measure-corrector.ts rows KIND D ROWS STORAGE THREADS [ROUNDS]    rows corrected per second, compared with the rate of matrix products
 *     measure-corrector.ts learn KIND D THREADS                         time of an update of the corrector
 *     measure-corrector.ts encode THREADS                               texts that the reference encoder embeds per second
 */
import { CORRECTOR_KINDS, type CorrectorKind } from '../src/correctors/corrector.ts';
import { createCorrector } from '../src/correctors/create-corrector.ts';
import { Graph } from '../src/graph/graph.ts';
import { Encoder } from '../src/models/retriever/encoder.ts';
import { declareParameters, initialValue, ROWS_INPUT } from '../src/nn/parameters.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { f32ToF16 } from '../src/util/half.ts';
import { pieces, unitRows } from './cache-table.ts';
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

report(await (measured === 'rows' ? rows() : measured === 'learn' ? learn() : encode()));
