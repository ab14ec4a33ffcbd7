import { greater, logSumExp, softplus, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/**
 * CoSENT loss: a pair with a higher label should have a higher score. Only the order of the labels counts.
 *
 *     L = log( 1 + Σ_{(i, j): label_i > label_j} e^{s_j − s_i} )
 *
 * The loss is a smooth form of the largest violation in the batch. Gradient: to `scores`; none to `labels`.
 * Memory: f32[B, B].
 *
 * Source: Su Jianlin, "CoSENT (1)", 2022, https://kexue.fm/archives/8847; Huang et al., "CoSENT: Consistent
 * Sentence Embedding via Similarity Ranking", IEEE TASLP 2024. Also known as CoSENTLoss (with `scale` =
 * 1/temperature).
 *
 * @param scores f32[B]: similarity of each pair (`pairCosines` or `angleSimilarity`), already divided by the
 *   temperature
 * @param labels f32[B], of any scale
 * @returns f32[], for the whole batch, not per pair; 0 if all labels are equal
 */
export function cosent(scores: Tensor, labels: Tensor): Tensor {
  const violations = sub(unsqueeze(scores, 0), unsqueeze(scores, 1));
  const counts = greater(unsqueeze(labels, 1), unsqueeze(labels, 0));
  // Not −∞: if all labels are equal, the sum has no terms, and its logarithm must not become NaN.
  return softplus(logSumExp(where(counts, violations, MASKED_SCORE)));
}
