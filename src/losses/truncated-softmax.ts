import { equal, range, stopGradient, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/**
 * Softmax cross-entropy over a list of candidates that the queries of a batch share (positives, sampled and uniform negatives),
 * optionally corrected for how the candidates were chosen.
 *
 *   L = (1/B) Σ_i [ −s_i,t(i) + log( e^{s_i,t(i)} + Σ_{j ∈ allowed(i), j ≠ t(i)} e^{s_ij − log Q_ij} ) ]
 *
 * Q_ij is how often candidate j was expected in query i's list. With it, the sum is unbiased for that over all documents;
 * without, it is what it is: the sum over the few that are here, which is much less than over all, so that the gradient dies as
 * soon as these few are beaten. Candidates chosen by their scores make that worse. It takes many (64 or more).
 *
 * @param scores  f32[B, C]: already divided by the temperature
 * @param target  i64[B]: column of query i's positive
 * @param options.allowed  bool[B, C]: candidates that take part; the target must. Default: all
 * @param options.logQ  f32[C] or f32[B, C]: log of the expected count
 * Gradient: to `scores`; none to `logQ`.
 *
 * Paper: Bengio and Senécal, AISTATS 2003; for in-batch negatives Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large
 * Corpus Item Recommendations", RecSys 2019. Differs from the latter: the positive is not corrected, as it is there with
 * certainty (arXiv:2507.09331).
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
