import { div, exp, logSoftmax, mean, mul, stopGradient, sub, sum, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/** Directions of the divergence between a teacher's distribution Q and the student's P. */
export const KL_DIRECTIONS = ['forward', 'reverse'] as const;
/** Direction of a divergence: KL(Q‖P) or KL(P‖Q), with the teacher's distribution Q. */
export type KlDirection = (typeof KL_DIRECTIONS)[number];

/**
 * Kullback-Leibler divergence between a teacher's and the student's distribution over the candidates of each query.
 *
 *     P_i = softmax(s_i1, …, s_ik),     Q_i = softmax(g_i1 / β, …, g_ik / β)
 *
 *     forward:  L = (1/B) Σ_i KL(Q_i ‖ P_i),     B ∂L/∂s_ij = P_ij − Q_ij
 *     reverse:  L = (1/B) Σ_i KL(P_i ‖ Q_i),     B ∂L/∂s_ij = P_ij (log(P_ij / Q_ij) − KL(P_i ‖ Q_i))
 *
 * `forward` spreads P over all that the teacher likes; `reverse` seeks one of its modes. Gradient: to `scores`; none to the teacher.
 *
 * Paper: `reverse` as printed in REPLUG, arXiv:2301.12652, eq. 6; `forward` as in its code, in Atlas (arXiv:2208.03299) and in
 * distillation (arXiv:1503.02531).
 *
 * @param scores  f32[B, k]: scores of the student, already divided by its temperature
 * @param teacher  f32[B, k]: scores g of the teacher
 * @param options.allowed  bool[B, k]: candidates that take part; the others may hold anything. Default: all
 * @param options.temperature  temperature β > 0 of the teacher. Default 1
 * @param options.direction  Default `forward`
 * @returns  `loss` f32[], in nats per query, 0 if both distributions are equal; `log P` and `log Q` f32[B, k]
 */
export function teacherDivergence(
  scores: Tensor,
  teacher: Tensor,
  options: { allowed?: Tensor | undefined; temperature?: number; direction?: KlDirection } = {},
): { loss: Tensor; logP: Tensor; logQ: Tensor } {
  const { allowed, temperature = 1, direction = 'forward' } = options;
  // Not −∞: a probability of 0 times its logarithm must be 0, not NaN.
  const masked = (of: Tensor) => (allowed ? where(allowed, of, MASKED_SCORE) : of);
  const logP = logSoftmax(masked(scores));
  const logQ = logSoftmax(masked(div(stopGradient(teacher), temperature)));
  const [from, to] = direction === 'forward' ? [logQ, logP] : [logP, logQ];
  return { loss: mean(sum(mul(exp(from), sub(from, to)), { axes: 1 })), logP, logQ };
}
