import { add, mean, relu, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * Triplet loss: a query should be nearer to its positive than to each of its negatives by a margin.
 *
 *     L = (1/B) Σ_i (1/k) Σ_j max(0, d⁺_i − d_ij + margin)
 *
 * Gradient: to `positive` and `negatives`; none from triplets that satisfy the margin.
 *
 * Paper: Schroff et al., "FaceNet", arXiv:1503.03832, eq. 1, with squared distances; Reimers and Gurevych,
 * "Sentence-BERT", arXiv:1908.10084, section 3, with Euclidean distances. Also known as TripletLoss.
 *
 * @param distances distances (`distances`) in place of scores: of the positives f32[B], of the negatives
 *   f32[B, k]; a negative that is not `allowed` is left out of its query's mean, and a query without
 *   negatives adds 0
 * @param options.margin margin in the unit of the distances; cosine distances lie between 0 and 2
 * @returns f32[], in the unit of the distances
 */
export function triplet(distances: NegativeScores, options: { margin: number }): Tensor {
  const { positive, allowed } = distances;
  const behind = sub(unsqueeze(positive, 1), allowedNegatives(distances));
  return mean(meanOfAllowed(relu(add(behind, options.margin)), allowed));
}
