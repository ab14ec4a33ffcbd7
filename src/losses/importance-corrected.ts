import {
  add,
  cast,
  dimSize,
  exp,
  log,
  logSumExp,
  maximum,
  mean,
  minimum,
  mul,
  softplus,
  stopGradient,
  sub,
  sum,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { NegativeScores } from './negative-scores.ts';

/** log of a weight that counts for nothing; not −∞, whose differences are no numbers. */
const NOTHING = -1e30;

/**
 * Softmax cross-entropy over a whole score table, its fresh partition function estimated from k draws from the stale table.
 *
 *   r_ij = s_ij − s̃_ij,     Ẑ_i = (Z̃_i / k) Σ_j e^{r_ij},     j drawn with probability e^{s̃_ij} / Z̃_i
 *
 *   L = (1/B) Σ_i [ −s⁺_i + log( e^{s⁺_i} + Ẑ_i ) ]
 *
 * with s fresh scores and s̃ those of the table. For independent draws Ẑ is unbiased for the fresh partition function of the
 * table's documents, whatever the table holds; the logarithm makes L slightly too small for small k. On a fresh table r = 0
 * and the gradient is that of `expectation`. On a stale one, a document that has been pushed away already has a small ratio
 * and is pushed no more.
 *
 *   effectiveSampleSize = (1/B) Σ_i (Σ_j e^{r_ij})² / Σ_j e^{2 r_ij}    in [1, k]; near 1 the table says nothing: refresh it
 *
 * @param scores  with `allowed` false, a draw is left out; a query without draws adds 0 to both
 * @param stale.scores  f32[B, k]: scores of the draws in the table
 * @param stale.logPartition  f32[B]: log Z̃, the query's right answers left out
 * @returns  also logPartition f32[B]: log Ẑ
 * Gradient: to `positive` and `negatives`. None to `stale`, none from `effectiveSampleSize`.
 *
 * Ours. Self-normalised importance sampling of partition functions: Bengio and Senécal, "Quick Training of Probabilistic
 * Neural Nets by Importance Sampling", AISTATS 2003; here Z̃ is known exactly, so nothing is normalised.
 */
export function importanceCorrected(
  scores: NegativeScores,
  stale: { scores: Tensor; logPartition: Tensor },
): { trainingLoss: Tensor; logPartition: Tensor; effectiveSampleSize: Tensor } {
  const { positive, negatives, allowed } = scores;
  const ratios = sub(negatives, stopGradient(stale.scores));
  const logRatios = allowed ? where(allowed, ratios, NOTHING) : ratios;
  const draws = allowed
    ? sum(cast(allowed, 'f32'), { axes: 1 })
    : dimSize(negatives.graph, negatives.shape[1]!);
  const total = logSumExp(logRatios, { axes: 1 });
  const logMean = sub(total, log(maximum(draws, 1)));
  const logPartition = add(stopGradient(stale.logPartition), logMean);
  const squares = logSumExp(mul(logRatios, 2), { axes: 1 });
  const sampleSize = mul(exp(sub(mul(total, 2), squares)), minimum(draws, 1));
  return {
    trainingLoss: mean(softplus(sub(logPartition, positive))),
    logPartition,
    effectiveSampleSize: stopGradient(mean(sampleSize)),
  };
}
