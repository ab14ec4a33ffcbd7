import { UndriftError, UsageError } from '../util/errors.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import { parseMetric } from './metric-spec.ts';
import { evaluate, type Qrels } from './metrics.ts';
import type { Run } from './ranking.ts';
import { studentTTwoSided } from './student-t.ts';

/** Settings of the random sampling in a significance test. */
export interface SamplingOptions {
  /** Seed of the random numbers; the same seed gives the same result. Default 0. */
  readonly seed?: number;
  /** Number of sign patterns or resamples to draw, from 1 to 10,000,000. Default 10,000. */
  readonly samples?: number;
}

/** Settings of {@link compareRuns}. */
export interface CompareOptions extends SamplingOptions {
  /** Coverage of the interval, in (0, 1). Default 0.95. */
  readonly confidence?: number;
  /** Queries to pair. `zero` (default): all judged queries. `skip`: only those with results in both runs. */
  readonly missingQueries?: 'zero' | 'skip';
}

/** Result of `randomisationTest`. */
export interface RandomisationTest {
  /** Two-sided. */
  readonly pValue: number;
  /** Number of sign patterns counted. */
  readonly samples: number;
  /** True if all possible patterns were counted. */
  readonly exact: boolean;
}

/** Result of `pairedTTest`. */
export interface PairedTTest {
  /** Test statistic; ±Infinity if all differences are equal and not zero. */
  readonly t: number;
  /** Number of queries − 1. */
  readonly degreesOfFreedom: number;
  /** Two-sided. */
  readonly pValue: number;
}

/** Confidence interval. */
export interface Interval {
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
  /** Coverage, in (0, 1). */
  readonly confidence: number;
}

/** Result of {@link compareRuns}: means, counts, two tests and an interval for one metric. */
export interface RunComparison {
  /** Canonical name of the metric. */
  readonly metric: string;
  /** Number of queries compared. */
  readonly queries: number;
  /** Mean of the metric over the queries for run A. */
  readonly meanA: number;
  /** Mean of the metric over the queries for run B. */
  readonly meanB: number;
  /** meanA − meanB */
  readonly difference: number;
  /** Number of queries on which A is better. */
  readonly wins: number;
  /** Number of queries on which B is better. */
  readonly losses: number;
  /** Number of queries on which A and B are equal. */
  readonly ties: number;
  /** Randomisation test of `difference`. */
  readonly randomisation: RandomisationTest;
  /** Paired t-test of `difference`. */
  readonly tTest: PairedTTest;
  /** Bootstrap interval of `difference`. */
  readonly interval: Interval;
}

/**
 * Tests whether run A is better than run B on one metric, beyond the chance in the choice of queries.
 *
 * The result holds two tests of the hypothesis "the systems are equal" over the per-query differences, and an
 * interval for the mean difference. Quote the randomisation test: it assumes nothing about the distribution.
 *
 * @throws UsageError for an unknown metric or invalid options
 * @throws UndriftError as {@link evaluate} does, and for fewer than two queries
 * @paper Smucker, Allan, Carterette: "A comparison of statistical significance tests for information
 *   retrieval evaluation", CIKM 2007.
 */
export function compareRuns(
  qrels: Qrels,
  a: Run,
  b: Run,
  metric: string,
  options: CompareOptions = {},
): RunComparison {
  const { name } = parseMetric(metric);
  const valuesA = evaluate(qrels, a, { metrics: [name] }).perQuery;
  const valuesB = evaluate(qrels, b, { metrics: [name] }).perQuery;
  const hasResults = (run: Run, queryId: string) => (run.get(queryId)?.length ?? 0) > 0;
  let queryIds = [...valuesA.keys()];
  if (options.missingQueries === 'skip') {
    queryIds = queryIds.filter((id) => hasResults(a, id) && hasResults(b, id));
  }
  const x = Float64Array.from(queryIds, (id) => valuesA.get(id)![name]!);
  const y = Float64Array.from(queryIds, (id) => valuesB.get(id)![name]!);
  const differences = x.map((value, i) => value - y[i]!);
  // The same value computed in two ways, such as 1/3 + 1/3 and 2/3, may differ in the last bit.
  const sign = (difference: number) => (Math.abs(difference) < 1e-12 ? 0 : Math.sign(difference));
  const signs = differences.map(sign);
  return {
    metric: name,
    queries: queryIds.length,
    meanA: mean(x),
    meanB: mean(y),
    difference: mean(differences),
    wins: signs.filter((s) => s > 0).length,
    losses: signs.filter((s) => s < 0).length,
    ties: signs.filter((s) => s === 0).length,
    randomisation: randomisationTest(differences, options),
    tTest: pairedTTest(differences),
    interval: bootstrapInterval(differences, options),
  };
}

/**
 * Runs a paired randomisation (permutation) test of mean difference zero, two-sided.
 *
 * If the systems are equal, each difference d_i could as well have the other sign. The p-value is the share
 * of sign patterns s with |Σ s_i d_i| ≥ |Σ d_i|. All 2^n patterns are counted if there are at most `samples`.
 * Otherwise `samples` patterns are drawn and the observed one is added, (count + 1) / (samples + 1), so the
 * p-value is never 0.
 *
 * @param differences  metric of A minus metric of B, one per query
 * @throws UndriftError for fewer than two differences or one that is not finite
 * @throws UsageError for an invalid number of samples
 * @paper Fisher 1935; Phipson and Smyth 2010 for the added one.
 * @verified scipy 1.17 `permutation_test(permutation_type='samples')`: exact values to 1e-12.
 */
export function randomisationTest(
  differences: Float64Array,
  options: SamplingOptions = {},
): RandomisationTest {
  requireQueries(differences);
  const samples = sampleCount(options);
  // A zero has no sign to flip. Leaving zeros out does not change the p-value and allows more exact counts.
  const values = differences.filter((d) => d !== 0);
  const n = values.length;
  const total = sum(values);
  const rounding = 1e-12 * values.reduce((all, d) => all + Math.abs(d), 0);
  const threshold = Math.abs(total) - rounding;
  const words = new Uint32Array(Math.ceil(n / 32));
  const isExtreme = () => Math.abs(total - 2 * sumOfSetBits(values, words)) >= threshold;

  if (n < 31 && 2 ** n <= samples) {
    let count = 0;
    for (let pattern = 0; pattern < 2 ** n; pattern++) {
      words[0] = pattern; // out of range, hence ignored, where n is 0
      if (isExtreme()) count++;
    }
    return { pValue: count / 2 ** n, samples: 2 ** n, exact: true };
  }
  const key = rngKey(options.seed ?? 0, 0, 'eval/randomisation-test');
  let count = 0;
  for (let i = 0; i < samples; i++) {
    randomInts(key, 2 ** 32, words, i * words.length);
    if (isExtreme()) count++;
  }
  return { pValue: (count + 1) / (samples + 1), samples, exact: false };
}

/**
 * Runs a paired t-test of mean difference zero, two-sided.
 *
 *     t = d̄ / √(s² / n),  s² = Σ (d_i − d̄)² / (n − 1),  n − 1 degrees of freedom
 *
 * If all differences are equal, t is ±Infinity with p 0, or 0 with p 1 if all are zero.
 *
 * @param differences  metric of A minus metric of B, one per query
 * @throws UndriftError for fewer than two differences or one that is not finite
 * @verified scipy 1.17 `ttest_rel` to 1e-10 relative.
 */
export function pairedTTest(differences: Float64Array): PairedTTest {
  requireQueries(differences);
  const n = differences.length;
  const centre = mean(differences);
  const squares = differences.reduce((all, d) => all + (d - centre) ** 2, 0);
  const standardError = Math.sqrt(squares / (n - 1) / n);
  const t = centre === 0 ? 0 : centre / standardError;
  return { t, degreesOfFreedom: n - 1, pValue: studentTTwoSided(t, n - 1) };
}

/**
 * Computes the percentile bootstrap interval of the mean difference.
 *
 * The queries are resampled with replacement `samples` times, and the interval spans the middle `confidence`
 * of the resulting means. For fewer than about 20 queries the interval is too narrow.
 *
 * @param differences  metric of A minus metric of B, one per query
 * @throws UndriftError for fewer than two differences or one that is not finite
 * @throws UsageError for an invalid number of samples or confidence
 * @paper Efron 1979.
 */
export function bootstrapInterval(
  differences: Float64Array,
  options: SamplingOptions & { readonly confidence?: number } = {},
): Interval {
  requireQueries(differences);
  const samples = sampleCount(options);
  const confidence = options.confidence ?? 0.95;
  if (!(confidence > 0 && confidence < 1)) {
    throw new UsageError(`confidence must be between 0 and 1, got ${confidence}`);
  }
  const n = differences.length;
  const key = rngKey(options.seed ?? 0, 0, 'eval/bootstrap');
  const drawn = new Uint32Array(n);
  const means = new Float64Array(samples);
  for (let i = 0; i < samples; i++) {
    randomInts(key, n, drawn, i * n);
    let all = 0;
    for (let j = 0; j < n; j++) all += differences[drawn[j]!]!;
    means[i] = all / n;
  }
  means.sort();
  const tail = (1 - confidence) / 2;
  return { low: quantile(means, tail), high: quantile(means, 1 - tail), confidence };
}

/** Sums the values whose bit is set: value i belongs to bit i % 32 of word floor(i / 32). */
function sumOfSetBits(values: Float64Array, words: Uint32Array): number {
  let all = 0;
  for (let i = 0; i < values.length; i++) {
    if ((words[i >>> 5]! >>> (i & 31)) & 1) all += values[i]!;
  }
  return all;
}

/** Quantile of sorted values, linear between neighbours. */
function quantile(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (position - below) * (high - low);
}

function sum(values: Float64Array): number {
  let all = 0;
  for (const value of values) all += value;
  return all;
}

function mean(values: Float64Array): number {
  return sum(values) / values.length;
}

function sampleCount({ samples = 10_000 }: SamplingOptions): number {
  if (!Number.isInteger(samples) || samples < 1 || samples > 10_000_000) {
    throw new UsageError(`samples must be a whole number from 1 to 10,000,000, got ${samples}`);
  }
  return samples;
}

function requireQueries(differences: Float64Array): void {
  if (differences.length < 2) {
    throw new UndriftError(`a paired comparison needs at least two queries, got ${differences.length}`);
  }
  const bad = differences.findIndex((d) => !Number.isFinite(d));
  if (bad >= 0) throw new UndriftError(`difference ${bad} of the paired comparison is ${differences[bad]}`);
}
