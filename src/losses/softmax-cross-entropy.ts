import { gatherElements, logSumExp, mean, squeeze, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/**
 * Mean negative log-likelihood of each query's positive among its candidates.
 *
 *     L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(s_ij) − s_i,target(i) ]
 *
 * Gradient: to `scores`. The loss is stable for scores up to 1e30, because the maximum is subtracted before
 * the exponential.
 *
 * Paper: Henderson et al. 2017, arXiv:1705.00652, section 4.4; DPR, arXiv:2004.04906, eq. 2. Also known as
 * MultipleNegativesRankingLoss (with `scale` = 1/temperature) and InfoNCE.
 *
 * @param scores f32[B, C], already divided by the temperature
 * @param target i64[B]: column of query i's positive, which must be allowed
 * @param options.allowed bool[B, C]: candidates that take part; default: all. Exclude known positives other
 *   than the target, so that no query is pushed away from a right answer
 * @returns f32[], in nats per query
 */
export function softmaxCrossEntropy(
  scores: Tensor,
  target: Tensor,
  options: { allowed?: Tensor } = {},
): Tensor {
  // Not −∞: a difference of infinities is NaN, and the exponential is 0 in either case.
  const candidates = options.allowed ? where(options.allowed, scores, MASKED_SCORE) : scores;
  const positive = squeeze(gatherElements(scores, unsqueeze(target, 1), { axis: 1 }), 1);
  return mean(sub(logSumExp(candidates, { axes: 1 }), positive));
}
