import { add, mul, range, slice, transpose } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/**
 * Softmax cross-entropy in both directions, from query to positive and from positive to query.
 *
 * Each query should find its positive among the candidates, and each positive should find its query among the
 * queries of the batch.
 *
 *     L = ½ (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} e^{s_ij} − s_ii ]  +  ½ (1/B) Σ_i [ log Σ_{j: i ∈ allowed(j)} e^{s_ji} − s_ii ]
 *
 * Gradient: to `scores`.
 *
 * Paper: for pairs Günther et al., "Jina Embeddings", arXiv:2307.11224, section 3; CLIP, arXiv:2103.00020.
 * Also known as MultipleNegativesSymmetricRankingLoss.
 *
 * @param scores f32[B, C], already divided by the temperature; the first B candidates are the positives in
 *   the order of the queries
 * @param options.allowed bool[B, C]: candidates that take part, in both directions; default: all
 * @returns f32[], in nats per query
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
