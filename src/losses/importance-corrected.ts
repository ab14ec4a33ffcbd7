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
import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { NegativeScores } from './negative-scores.ts';

/**
 * Softmax cross-entropy over a whole score table, with its fresh partition function estimated from k draws
 * from the stale table.
 *
 *     r_ij = s_ij − s̃_ij,     Ẑ_i = (Z̃_i / k) Σ_j e^{r_ij},     j drawn with probability e^{s̃_ij} / Z̃_i
 *
 *     L = (1/B) Σ_i [ −s⁺_i + log( e^{s⁺_i} + Ẑ_i ) ]
 *
 *     effectiveSampleSize = (1/B) Σ_i (Σ_j e^{r_ij})² / Σ_j e^{2 r_ij}    in [1, k]
 *
 * Here s are fresh scores and s̃ the scores in the table. For independent draws, Ẑ is an unbiased estimate of
 * the fresh partition function over the documents of the table, however stale the table is. Because of the
 * logarithm, L is slightly too small for small k. On a fresh table r = 0, and the gradient equals that of
 * `expectation`. On a stale table, a document that has been pushed away already has a small ratio e^r and is
 * hardly pushed any more. An effective sample size near 1 means that the table is too stale to be of use and
 * should be refreshed.
 *
 * Gradient: to `positive` and `negatives`. None to `stale`, none from `effectiveSampleSize`.
 *
 * This estimator is our own. Self-normalised importance sampling of partition functions: Bengio and Senécal,
 * "Quick Training of Probabilistic Neural Nets by Importance Sampling", AISTATS 2003. Here Z̃ is known
 * exactly, so the weights are not normalised.
 *
 * @param scores scores of positives and draws; a draw that is not `allowed` is left out, and a query without
 *   draws adds 0 to both averages
 * @param stale.scores f32[B, k]: scores of the draws in the table
 * @param stale.logPartition f32[B]: log Z̃, without the query's right answers
 * @returns `trainingLoss` f32[] in nats per query, `logPartition` f32[B] (log Ẑ), `effectiveSampleSize` f32[]
 */
export function importanceCorrected(
  scores: NegativeScores,
  stale: { scores: Tensor; logPartition: Tensor },
): { trainingLoss: Tensor; logPartition: Tensor; effectiveSampleSize: Tensor } {
  const { positive, negatives, allowed } = scores;
  const ratios = sub(negatives, stopGradient(stale.scores));
  const logRatios = allowed ? where(allowed, ratios, MASKED_SCORE) : ratios;
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
