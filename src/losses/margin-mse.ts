import { mean, square, stopGradient, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * Mean squared difference between the student's and a teacher's margins of positive over negative.
 *
 *     L = (1/B) Σ_i (1/k) Σ_j ( (s⁺_i − s_ij) − (t⁺_i − t_ij) )²
 *
 * Gradient: to `positive` and `negatives`; none to the teacher.
 *
 * Paper: Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
 * Distillation", arXiv:2010.02666.
 *
 * @param scores similarities of the student, usually not divided by a temperature, since they should match
 *   the teacher's in size; a negative that is not `allowed` is left out of its query's mean, and a query
 *   without negatives adds 0
 * @param teacher.positive f32[B]
 * @param teacher.negatives f32[B, k]
 * @returns f32[]
 */
export function marginMse(scores: NegativeScores, teacher: { positive: Tensor; negatives: Tensor }): Tensor {
  const { positive, allowed } = scores;
  const margin = sub(unsqueeze(positive, 1), allowedNegatives(scores));
  const wanted = stopGradient(sub(unsqueeze(teacher.positive, 1), teacher.negatives));
  return mean(meanOfAllowed(square(sub(margin, wanted)), allowed));
}
