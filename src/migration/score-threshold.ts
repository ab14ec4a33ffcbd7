import { randomInts, rngKey } from '../util/rng.ts';

/** Results of one query: scores, best first, and whether each result is relevant, where that is known. */
export interface ScoredResults {
  readonly scores: ArrayLike<number>;
  readonly relevant?: readonly boolean[] | undefined;
}

/** Threshold of scores for another space. */
export interface RefittedThreshold {
  /** Threshold of the present scores. */
  readonly from: number;
  /** Threshold of the new scores; null if none keeps the property, for example because all results pass the present one. */
  readonly to: number | null;
  /** 95 % interval of the new threshold, by resampling queries; null where there is no threshold. */
  readonly interval: readonly [number, number] | null;
  /** The property that both thresholds have: share of the results that pass, or precision of those that pass. */
  readonly value: number;
}

/** Property that a threshold keeps. */
export type ThresholdProperty = 'share' | 'precision';

/** Settings of {@link refitThreshold}. */
export interface RefitOptions {
  /**
   * Property to keep. `share`: as many results pass. `precision`: as large a share of those that pass is relevant, with the lowest such
   * threshold. Default `share`.
   */
  readonly keep?: ThresholdProperty | undefined;
  /** Number of resamples for the interval. Default 500. */
  readonly resamples?: number | undefined;
  /** Seed of the resamples. Default 0. */
  readonly seed?: number | undefined;
}

/**
 * Maps a threshold such as "score ≥ 0.62" from the scores of one space to those of another: the new threshold lets as many results of a
 * sample of queries pass, or keeps the precision of those that pass.
 *
 * @param from  results of each query in the present space
 * @param to  results of the same queries in the new space, as many for each
 */
export function refitThreshold(
  from: readonly ScoredResults[],
  to: readonly ScoredResults[],
  threshold: number,
  { keep = 'share', resamples = 500, seed = 0 }: RefitOptions = {},
): RefittedThreshold {
  const [present, next] = [sorted(from), sorted(to)];
  const refit = (weights: Int32Array): Refitted => {
    const passing = weigh(present, weights, (score) => score >= threshold);
    const value =
      keep === 'share' ? ratio(passing.weight, passing.total) : ratio(passing.relevant, passing.weight);
    if (passing.weight === 0) return { value, to: null };
    return { value, to: thresholdKeeping(next, weights, { keep, value }) };
  };
  const best = refit(new Int32Array(from.length).fill(1));
  const drawn: number[] = [];
  for (let draw = 0; best.to !== null && draw < resamples; draw++) {
    const queries = new Int32Array(from.length);
    randomInts(rngKey(seed, draw, 'threshold'), from.length, queries);
    const weights = new Int32Array(from.length);
    for (const query of queries) weights[query]! += 1;
    const again = refit(weights);
    if (again.to !== null) drawn.push(again.to);
  }
  drawn.sort((a, b) => a - b);
  const at = (share: number) => drawn[Math.min(drawn.length - 1, Math.floor(share * drawn.length))]!;
  const interval = drawn.length === 0 ? null : ([at(0.025), at(0.975)] as const);
  return { from: threshold, ...best, interval };
}

type Refitted = Pick<RefittedThreshold, 'to' | 'value'>;

/** Result with the place of its query. */
interface Result {
  readonly score: number;
  readonly relevant: boolean;
  readonly query: number;
}

/** Lists the results of all queries by descending score. */
const sorted = (results: readonly ScoredResults[]): Result[] =>
  results
    .flatMap(({ scores, relevant = [] }, query) =>
      Array.from(scores, (score, i) => ({ score, relevant: relevant[i] ?? false, query })),
    )
    .sort((a, b) => b.score - a.score);

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

/** Counts results that pass, each as often as its query was drawn. */
function weigh(results: readonly Result[], weights: Int32Array, passes: (score: number) => boolean) {
  let [weight, relevant, total] = [0, 0, 0];
  for (const result of results) {
    const drawn = weights[result.query]!;
    total += drawn;
    if (!passes(result.score)) continue;
    weight += drawn;
    if (result.relevant) relevant += drawn;
  }
  return { weight, relevant, total };
}

/** Finds the lowest threshold with a property; null if no result passes it, or all do. */
function thresholdKeeping(
  results: readonly Result[],
  weights: Int32Array,
  { keep, value }: { keep: ThresholdProperty; value: number },
): number | null {
  const { total } = weigh(results, weights, () => false);
  const wanted = Math.round(value * total);
  let [weight, relevant, last] = [0, 0, -1];
  for (const [i, result] of results.entries()) {
    const drawn = weights[result.query]!;
    weight += drawn;
    if (result.relevant) relevant += drawn;
    if (keep === 'share' ? weight <= wanted : weight > 0 && relevant / weight >= value) last = i;
  }
  if (last < 0 || last === results.length - 1) return null;
  return (results[last]!.score + results[last + 1]!.score) / 2;
}
