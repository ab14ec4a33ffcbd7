import { concat, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { NegativeScores } from './negative-scores.ts';
import { teacherDivergence } from './teacher-divergence.ts';

/**
 * Kullback-Leibler divergence between a teacher's and the student's distribution over the candidates of each
 * query.
 *
 *     p_i = softmax(t⁺_i / T, t_i1 / T, …, t_ik / T),     q_i = softmax(s⁺_i, s_i1, …, s_ik)
 *
 *     L = (1/B) Σ_i Σ_c p_ic (log p_ic − log q_ic)
 *
 * Gradient: to `positive` and `negatives`; none to the teacher.
 *
 * Paper: Hinton et al., arXiv:1503.02531; for rankings Lin et al., "In-Batch Negatives for Knowledge
 * Distillation with Tightly-Coupled Teachers", RepL4NLP 2021. Also known as DistillKLDivLoss, which
 * multiplies the loss by the square of the student's temperature.
 *
 * @param scores scores of the student, already divided by its temperature; a negative that is not `allowed`
 *   is no candidate of its query
 * @param teacher.positive f32[B]
 * @param teacher.negatives f32[B, k]; entries that are not allowed may hold anything
 * @param options.temperature temperature of the teacher, T > 0, unitless, default 1
 * @returns f32[], in nats per query; 0 if both distributions are equal
 */
export function klDistillation(
  scores: NegativeScores,
  teacher: { positive: Tensor; negatives: Tensor },
  options: { temperature?: number } = {},
): Tensor {
  const all = (positive: Tensor, negatives: Tensor) =>
    concat(
      [unsqueeze(positive, 1), scores.allowed ? where(scores.allowed, negatives, MASKED_SCORE) : negatives],
      1,
    );
  return teacherDivergence(
    all(scores.positive, scores.negatives),
    all(teacher.positive, teacher.negatives),
    options,
  ).loss;
}
