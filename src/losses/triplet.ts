import { add, mean, relu, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * A query is to be nearer to its positive than to each of its negatives by a margin.
 *
 *   L = (1/B) Σ_i (1/k) Σ_j max(0, d⁺_i − d_ij + margin)
 *
 * @param distances  of the positives f32[B] and of the negatives f32[B, k] (`distances`), where others have scores: small is near.
 *   With `allowed` false, a negative is left out of its query's mean; a query without adds 0
 * @param options.margin  in the unit of the distances; cosine distances lie between 0 and 2
 * Gradient: to `positive` and `negatives`; none from triplets that are right by the margin.
 *
 * Paper: Schroff et al., "FaceNet", arXiv:1503.03832, eq. 1, there of squared distances; Reimers and Gurevych, "Sentence-BERT",
 * arXiv:1908.10084, section 3, of Euclidean ones. Also known as TripletLoss.
 */
export function triplet(distances: NegativeScores, options: { margin: number }): Tensor {
  const { positive, allowed } = distances;
  const behind = sub(unsqueeze(positive, 1), allowedNegatives(distances));
  return mean(meanOfAllowed(relu(add(behind, options.margin)), allowed));
}
