import { hostTensor } from '../runtime/host-tensor.ts';
import { checkOptions, type GivenOptions, type OptionTable, optionValues } from '../util/option-table.ts';
import { permutation, randomInts, rngKey } from '../util/rng.ts';
import { pickRows, squaredDistance } from '../util/vector-rows.ts';
import { checkPairs } from './check-pairs.ts';
import type { Corrector, CorrectorBatch, CorrectorKind } from './corrector.ts';
import { CALLER_OPTIONS, type CorrectorOptions, correctorPlan, PLAN_OPTIONS } from './corrector-options.ts';
import { createCorrector } from './create-corrector.ts';
import { LinearCorrector } from './linear-corrector.ts';
import { MlpCorrector } from './mlp.ts';

/** Options of a fit beside those of the corrector. */
export const FIT_OPTIONS = {
  /** `mlp`: number of updates, ≥ 1. Default 1000. */
  steps: { type: 'integer', min: 1, default: 1000, help: 'mlp: number of updates' },
  /** `mlp`: pairs per update, ≥ 1. Default 256, or all pairs if there are fewer. */
  batchSize: { type: 'integer', min: 1, default: 256, help: 'mlp: pairs per update' },
} as const satisfies OptionTable;

/** Settings of {@link fitCorrector}. */
export interface FitOptions extends CorrectorOptions, GivenOptions<typeof FIT_OPTIONS> {}

/** Minimum number of held-out pairs that can tell the best parameters from others. */
const FEWEST_HELD_OUT = 8;
/** Updates between two evaluations on the held-out pairs. */
const LOOK_EVERY = 50;
/** Queries per update. */
const QUERIES = 64;

/**
 * Fits a corrector to a fixed set of pairs.
 *
 * Closed forms use all pairs. The residual network (`mlp`) makes `steps` updates with a learning rate that
 * falls to 0 and holds out a tenth of the pairs. It ends with the parameters of smallest held-out error, and
 * the initial parameters are among the candidates. Equal pairs, options and seed give the same corrector.
 *
 * @param pairs.queries  any number Q of queries for the divergence of `mlp`, f32[Q, D'] · 1/τ
 * @throws UsageError for an unknown option, and for a value out of range or not finite
 * @throws ShapeError when sizes do not fit together
 */
export async function fitCorrector(
  kind: CorrectorKind,
  pairs: CorrectorBatch,
  options: FitOptions,
): Promise<Corrector> {
  checkOptions({ ...PLAN_OPTIONS, ...FIT_OPTIONS }, options, CALLER_OPTIONS);
  const { steps, batchSize } = optionValues(FIT_OPTIONS, { ...options });
  const { steps: _, batchSize: __, ...rest } = options;
  const plan = correctorPlan(kind, rest);
  const { dimension, toDimension, ages } = plan;
  const sizes = { name: kind, dimension, toDimension, usesAges: ages !== undefined && kind === 'mlp' };
  const count = checkPairs(pairs, sizes);
  const corrector = await createCorrector(kind, rest);
  try {
    if (corrector instanceof LinearCorrector) {
      await corrector.fit({
        stale: hostTensor('f32', [count, dimension], pairs.stale as Float32Array<ArrayBuffer>),
        fresh: hostTensor('f32', [count, toDimension], pairs.fresh as Float32Array<ArrayBuffer>),
      });
    } else if (corrector instanceof MlpCorrector) {
      await train(corrector, pairs, { count, steps, batchSize, ...plan });
    }
    return corrector;
  } catch (error) {
    await corrector.dispose();
    throw error;
  }
}

interface Training {
  readonly count: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly dimension: number;
  readonly toDimension: number;
  readonly learningRate: number;
  readonly seed: number;
}

async function train(corrector: MlpCorrector, pairs: CorrectorBatch, training: Training): Promise<void> {
  const { count, steps, dimension, toDimension, learningRate, seed } = training;
  const order = permutation(rngKey(seed, 0, 'corrector/held-out'), count);
  const apart = Math.floor(count / 10) >= FEWEST_HELD_OUT ? Math.floor(count / 10) : 0;
  const heldOut = pick(pairs, order.subarray(0, apart), training);
  const fitted = pick(pairs, order.subarray(apart), training);
  const size = Math.min(training.batchSize, count - apart);
  await corrector.fitSkip(fitted);
  const error = async (): Promise<number> => {
    const rows = hostTensor('f32', [apart, dimension], heldOut.stale);
    const ages = heldOut.ages && { ages: heldOut.ages };
    return squaredDistance(await corrector.correct(rows, ages), heldOut.fresh);
  };
  let best = apart > 0 ? { error: await error(), state: copyOf(corrector) } : undefined;
  const batches = eachBatch(count - apart, size, seed);
  for (let step = 1; step <= steps; step++) {
    const rows = batches.next().value as Uint32Array;
    const queries = pairs.queries && someQueries(pairs.queries, toDimension, { seed, step });
    const batch = size === count - apart ? fitted : pick(fitted, rows, training);
    const rate = learningRate * (1 - (step - 1) / steps);
    await corrector.update({ ...batch, ...(queries && { queries }) }, rate);
    if (best && (step % LOOK_EVERY === 0 || step === steps)) {
      const now = await error();
      if (now < best.error) best = { error: now, state: copyOf(corrector) };
    }
  }
  if (best) await corrector.restore(best.state);
}

/**
 * Yields batches of pairs in random order, endlessly. Each pair occurs at most once an epoch, and no batch
 * spans two epochs.
 */
function* eachBatch(count: number, size: number, seed: number): Generator<Uint32Array> {
  for (let epoch = 0; ; epoch++) {
    const order = permutation(rngKey(seed, epoch, 'corrector/batches'), count);
    for (let start = 0; start + size <= count; start += size) yield order.subarray(start, start + size);
  }
}

function pick(
  { stale, fresh, ages }: CorrectorBatch,
  rows: Uint32Array,
  { dimension, toDimension }: { dimension: number; toDimension: number },
) {
  return {
    stale: pickRows(stale, dimension, rows),
    fresh: pickRows(fresh, toDimension, rows),
    ...(ages && { ages: Int32Array.from(rows, (row) => ages[row]!) }),
  };
}

function someQueries(
  queries: Float32Array,
  width: number,
  { seed, step }: { seed: number; step: number },
): Float32Array {
  const count = queries.length / width;
  if (count <= QUERIES) return queries;
  const rows = new Uint32Array(QUERIES);
  randomInts(rngKey(seed, step, 'corrector/queries'), count, rows);
  return pickRows(queries, width, rows);
}

const copyOf = (corrector: MlpCorrector): ReturnType<MlpCorrector['state']> =>
  Object.fromEntries(
    Object.entries(corrector.state()).map(([name, { dtype, dims, data }]) => [
      name,
      { dtype, dims, data: data.slice() },
    ]),
  );
