import { equal, range, stopGradient, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/**
 * Softmax cross-entropy over candidates that the queries of a batch share, optionally corrected for how they
 * were sampled.
 *
 * The candidates are positives, sampled negatives and uniform negatives.
 *
 *     L = (1/B) Σ_i [ −s_i,t(i) + log( e^{s_i,t(i)} + Σ_{j ∈ allowed(i), j ≠ t(i)} e^{s_ij − log Q_ij} ) ]
 *
 * Q_ij is the expected number of times that candidate j occurs in the list of query i. With this correction,
 * the sum over the list is an unbiased estimate of the sum over all documents. Without it, the sum is over
 * the few candidates of the list and much smaller. The gradient then vanishes as soon as the positive scores
 * above them, the more so if the candidates were chosen by their scores. Use many candidates without
 * correction (64 or more).
 *
 * Gradient: to `scores`; none to `logQ`.
 *
 * Paper: Bengio and Senécal, AISTATS 2003; for in-batch negatives Yi et al., "Sampling-Bias-Corrected Neural
 * Modeling for Large Corpus Item Recommendations", RecSys 2019. Differs from the latter: the positive is not
 * corrected, because it is in the list with certainty (arXiv:2507.09331).
 *
 * @param scores f32[B, C], already divided by the temperature
 * @param target i64[B]: column of query i's positive
 * @param options.allowed bool[B, C]: candidates that take part, including the target; default: all
 * @param options.logQ f32[C] or f32[B, C]: log Q; default: no correction
 * @returns f32[], in nats per query
 */
export function truncatedSoftmax(
  scores: Tensor,
  target: Tensor,
  options: { allowed?: Tensor; logQ?: Tensor } = {},
): Tensor {
  const { allowed, logQ } = options;
  const mask = allowed ? { allowed } : {};
  if (!logQ) return softmaxCrossEntropy(scores, target, mask);
  const columns = range(scores.graph, scores.shape[1]!);
  const isTarget = equal(columns, unsqueeze(target, 1));
  const corrected = where(isTarget, scores, sub(scores, stopGradient(logQ)));
  return softmaxCrossEntropy(corrected, target, mask);
}
