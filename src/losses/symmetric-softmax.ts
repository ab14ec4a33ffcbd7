import { add, mul, range, slice, transpose } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/**
 * Softmax cross-entropy in both directions: each query is to find its positive among the candidates, and each positive its query
 * among the queries of the batch.
 *
 *   L = ½ (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} e^{s_ij} − s_ii ]  +  ½ (1/B) Σ_i [ log Σ_{j: i ∈ allowed(j)} e^{s_ji} − s_ii ]
 *
 * @param scores  f32[B, C]: already divided by the temperature; the first B candidates are the positives in the queries' order
 * @param options.allowed  bool[B, C]: candidates that take part, in both directions. Default: all
 * Gradient: to `scores`.
 *
 * Paper: for pairs Günther et al., "Jina Embeddings", arXiv:2307.11224, section 3; CLIP, arXiv:2103.00020. Also known as
 * MultipleNegativesSymmetricRankingLoss.
 */
export function symmetricSoftmax(scores: Tensor, options: { allowed?: Tensor } = {}): Tensor {
  const { allowed } = options;
  const B = scores.shape[0]!;
  const target = range(scores.graph, B);
  const backwards = (x: Tensor) => transpose(slice(x, { axis: 1, length: B }));
  const there = softmaxCrossEntropy(scores, target, { ...(allowed && { allowed }) });
  const back = softmaxCrossEntropy(backwards(scores), target, {
    ...(allowed && { allowed: backwards(allowed) }),
  });
  return mul(add(there, back), 0.5);
}
