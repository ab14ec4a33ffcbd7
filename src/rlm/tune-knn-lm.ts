import { UsageError } from '../util/errors.ts';
import type { KnnLmWeights } from './knn-lm.ts';
import { mixLogProbabilities } from './recalled-tokens.ts';
import type { SegmentRecall } from './recaller.ts';

/** One point of the grid: temperatures, the best weights for them, and the perplexity that they give. */
export interface TunedWeights extends KnnLmWeights {
  /** Number of neighbours. */
  readonly neighbours: number;
  readonly perplexity: number;
}

/** Result of `tuneKnnLm`. */
export interface KnnLmTuning {
  /** Point of the lowest perplexity. */
  readonly best: TunedWeights;
  /** All points that were tried. */
  readonly grid: readonly TunedWeights[];
  /** Perplexity of the language model alone on the same tokens. */
  readonly basePerplexity: number;
  /** Number of tokens. */
  readonly tokens: number;
}

/** Options of `tuneKnnLm`. */
export interface TuneKnnLmOptions {
  /** Numbers of neighbours to try, each at most those that were recalled. Default all that were recalled. */
  readonly neighbours?: readonly number[] | undefined;
  /** Temperatures τ to try. Default powers of 2 around the spread of the distances. */
  readonly temperatures?: readonly number[] | undefined;
  /** Scales θ of the cache to try. Default powers of 2 around the spread of the products. */
  readonly thetas?: readonly number[] | undefined;
}

/** Powers of 2 by which τ lies below the mean spread of the distances, and θ above that of the products. */
const STEPS = { fewest: -2, most: 8 };
/** Weights are rounded to this number of parts. */
const WEIGHT_PARTS = 1000;

/**
 * Chooses temperatures and weights of kNN-LM on text that was recalled once. For each pair of temperatures the weights are those of the
 * largest likelihood. It is concave in them, so that expectation maximisation finds them from any start.
 *
 * @param recalled  recall of development text, such as that of `Recaller`
 * @throws UsageError where no token was recalled
 */
export function tuneKnnLm(recalled: readonly SegmentRecall[], options: TuneKnnLmOptions = {}): KnnLmTuning {
  const base = basePredictions(recalled);
  const [hasNeighbours, hasCache] = [recalled[0]!.neighbours !== undefined, recalled[0]!.cache !== undefined];
  const { temperatures, thetas } = options;
  const spread = (of: 'neighbours' | 'cache') => mean(recalled.map((each) => each[of]?.spread ?? 0));
  const taus = temperatures ?? powers(spread('neighbours'), -1);
  const scales = thetas ?? powers(1 / Math.max(1e-30, spread('cache')), 1);
  const joined = (of: 'neighbours' | 'cache', scale: number, most?: number) =>
    joinedSegments(recalled, (each) => each[of]!.logProbabilities(scale, most));
  const caches = hasCache ? scales.map((theta) => ({ theta, own: joined('cache', theta) })) : [undefined];
  const grid: TunedWeights[] = [];
  for (const most of hasNeighbours ? (options.neighbours ?? [Number.POSITIVE_INFINITY]) : [0]) {
    for (const temperature of hasNeighbours ? taus : [1]) {
      const near = hasNeighbours ? joined('neighbours', 1 / temperature, most) : undefined;
      for (const cache of caches) {
        const { weights, nats } = bestWeights(base, [near, cache?.own]);
        grid.push({
          neighbours: Number.isFinite(most) ? most : longest(recalled),
          temperature,
          lambda: weights[0]!,
          cacheTheta: cache?.theta ?? 1,
          cacheLambda: weights[1]!,
          perplexity: Math.exp(nats / base.length),
        });
      }
    }
  }
  return { best: bestPoint(grid), grid, ...baseResult(base) };
}

/** Joins numbers of the scored tokens of all segments. */
export const joinedSegments = (
  recalled: readonly SegmentRecall[],
  numbers: (segment: SegmentRecall) => Iterable<number>,
): Float64Array => Float64Array.from(recalled.flatMap((each) => [...numbers(each)]));

/**
 * Returns the predictions of the language model alone for all tokens to tune on, f64[n].
 *
 * @throws UsageError where no token was recalled
 */
export function basePredictions(recalled: readonly SegmentRecall[]): Float64Array {
  const base = joinedSegments(recalled, (each) => each.base);
  if (base.length === 0) throw new UsageError('the text to tune on has no token to score');
  return base;
}

/** Perplexity of the language model alone, and the number of tokens. */
export const baseResult = (base: Float64Array): Pick<KnnLmTuning, 'basePerplexity' | 'tokens'> => ({
  basePerplexity: Math.exp(-sumOf(base) / base.length),
  tokens: base.length,
});

/** Returns the first point of the lowest perplexity. */
export const bestPoint = <T extends { readonly perplexity: number }>(grid: readonly T[]): T =>
  grid.reduce((best, each) => (each.perplexity < best.perplexity ? each : best));

/** Powers of 2 around a unit: above it where `direction` is 1, below it where it is −1. */
function powers(unit: number, direction: 1 | -1): number[] {
  const middle = Math.round(Math.log2(Math.max(1e-30, Math.min(1e30, unit))));
  const found: number[] = [];
  for (let step = STEPS.fewest; step <= STEPS.most; step++) found.push(2 ** (middle + direction * step));
  return found.sort((a, b) => a - b);
}

/**
 * Finds the weights of memories of the largest likelihood, by expectation maximisation.
 *
 * @param base  f64[n]: log p_LM
 * @param memories  f64[n] each: log p_m, NaN where the memory is empty; undefined for a memory that is not there
 * @returns a weight for each memory, in thousandths, and −Σ log p of the mixture
 */
export function bestWeights(
  base: Float64Array,
  memories: readonly (Float64Array | undefined)[],
): { readonly weights: number[]; readonly nats: number } {
  // Ratios p_m / p_LM. An empty memory leaves its share to the language model.
  const ratios = memories.map((memory) =>
    memory?.map((logP, t) => (Number.isNaN(logP) ? 1 : Math.min(1e300, Math.exp(logP - base[t]!)))),
  );
  const present = ratios.filter((ratio) => ratio !== undefined).length;
  let weights = ratios.map((ratio) => (ratio ? 0.5 / present : 0));
  for (let round = 0; round < 500; round++) {
    const own = 1 - sumOf(weights);
    const shares = weights.map(() => 0);
    for (let t = 0; t < base.length; t++) {
      let all = own;
      for (const [m, ratio] of ratios.entries()) if (ratio) all += weights[m]! * ratio[t]!;
      for (const [m, ratio] of ratios.entries()) if (ratio) shares[m]! += (weights[m]! * ratio[t]!) / all;
    }
    const next = shares.map((share) => share / base.length);
    const moved = Math.max(0, ...next.map((weight, m) => Math.abs(weight - weights[m]!)));
    weights = next;
    if (moved < 0.01 / WEIGHT_PARTS) break;
  }
  weights = weights.map((weight) => Math.round(weight * WEIGHT_PARTS) / WEIGHT_PARTS);
  // The language model keeps a share, so that no token is impossible.
  const most = 1 - 1 / WEIGHT_PARTS;
  const sum = sumOf(weights);
  if (sum > most) weights = weights.map((weight) => (weight * most) / sum);
  const mixed = mixLogProbabilities(
    base,
    memories.flatMap((logProbabilities, m) =>
      logProbabilities ? [{ logProbabilities, weight: weights[m]! }] : [],
    ),
  );
  return { weights, nats: -sumOf(mixed) };
}

const longest = (recalled: readonly SegmentRecall[]): number => {
  let most = 0;
  for (const { neighbours } of recalled)
    for (let t = 0; neighbours && t < neighbours.places; t++)
      most = Math.max(most, neighbours.starts[t + 1]! - neighbours.starts[t]!);
  return most;
};

const sumOf = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
};
const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : sumOf(values) / values.length);
