import { greater, logSumExp, softplus, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * Pairs with a higher label are to score higher: a smooth form of the largest violation in the batch. Only the order of the labels
 * counts, not their size.
 *
 *   L = log( 1 + Σ_{(i, j): label_i > label_j} e^{s_j − s_i} )
 *
 * @param scores  f32[B]: similarity of each pair (`pairCosines`, or `angleSimilarity`), already divided by the temperature
 * @param labels  f32[B]: of any scale
 * @returns  f32[]: of the whole batch, not per pair; 0 where all labels are equal
 * Gradient: to `scores`; none to `labels`. Memory: f32[B, B].
 *
 * Su Jianlin, "CoSENT (1)", 2022, https://kexue.fm/archives/8847; Huang et al., "CoSENT: Consistent Sentence Embedding via Similarity
 * Ranking", IEEE TASLP 2024. Also known as CoSENTLoss (whose `scale` is 1/temperature).
 */
export function cosent(scores: Tensor, labels: Tensor): Tensor {
  const violations = sub(unsqueeze(scores, 0), unsqueeze(scores, 1));
  const counts = greater(unsqueeze(labels, 1), unsqueeze(labels, 0));
  // −1e30, not −∞: a batch of equal labels has a sum of nothing.
  return softplus(logSumExp(where(counts, violations, -1e30)));
}
