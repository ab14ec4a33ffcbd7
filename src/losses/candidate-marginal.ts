import {
  add,
  exp,
  logSoftmax,
  logSumExp,
  mean,
  mul,
  neg,
  stopGradient,
  sub,
  sum,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/** Ways of summing over the candidates: once for the whole answer, or for each of its tokens. */
export const MARGINALS = ['sequence', 'token'] as const;
/** Way of summing over the candidates: once for the whole answer, or for each of its tokens. */
export type Marginal = (typeof MARGINALS)[number];

/** Tensors of {@link candidateMarginal}. */
export interface CandidateMarginal {
  /** f32[]: loss, in nats per query. */
  readonly loss: Tensor;
  /** f32[B, k]: log P of the retriever. */
  readonly logP: Tensor;
  /** f32[B, k]: log of the posterior ∝ P p(y | x, z). */
  readonly logPosterior: Tensor;
  /** f32[B, k]: log p(y | x, z) of whole answers. */
  readonly likelihoods: Tensor;
  /** f32[B]: log p(y | x) of whole answers. */
  readonly answers: Tensor;
}

/**
 * Negative log-likelihood of an answer y under a reader that reads one candidate z, which the retriever chooses at random by
 * P = softmax(s):
 *
 *     sequence:  L = −(1/B) Σ_i log Σ_k P_ik Π_t p(y_t | x, z_k, y_<t)
 *     token:     L = −(1/B) Σ_i Σ_t log Σ_k P_ik p(y_t | x, z_k, y_<t)
 *
 * Both are the same for answers of one token. Gradient: to `scores` and to `tokens`. With `sequence`, B ∂L/∂s = P − posterior, and
 * B ∂L/∂log p(y_t | x, z_k) = −posterior_k: the reader learns most from the candidates that explain the answer.
 *
 * Paper: `sequence` as printed in REALM, arXiv:2002.08909, eq. 1; `token` as in its code.
 *
 * @param scores  f32[B, k]: scores of the retriever, already divided by its temperature
 * @param tokens  f32[B, k, J]: log p of the tokens of the answer given each candidate; 0 after the end of an answer
 * @param options.allowed  bool[B, k]: candidates that take part; the scores of the others may hold anything, their tokens 0
 */
export function candidateMarginal(
  scores: Tensor,
  tokens: Tensor,
  { allowed, marginal = 'sequence' }: { allowed?: Tensor | undefined; marginal?: Marginal } = {},
): CandidateMarginal {
  // Not −∞: a probability of 0 times its logarithm must be 0, not NaN.
  const logP = logSoftmax(allowed ? where(allowed, scores, MASKED_SCORE) : scores);
  const likelihoods = sum(tokens, { axes: 2 });
  const joint = add(logP, likelihoods);
  const answers = logSumExp(joint, { axes: 1 });
  // Past the end of an answer every candidate has log p = 0, and the sum over the candidates is log 1.
  const perToken = () => sum(logSumExp(add(unsqueeze(logP, 2), tokens), { axes: 1 }), { axes: 1 });
  return {
    loss: neg(mean(marginal === 'sequence' ? answers : perToken())),
    logP,
    logPosterior: sub(joint, unsqueeze(answers, 1)),
    likelihoods,
    answers,
  };
}

/** Computes KL(posterior ‖ P) in nats, f32[]: how much the answers say about the candidates that the scores do not. No gradient. */
export const posteriorDivergence = ({
  logP,
  logPosterior,
}: Pick<CandidateMarginal, 'logP' | 'logPosterior'>): Tensor =>
  stopGradient(mean(sum(mul(exp(logPosterior), sub(logPosterior, logP)), { axes: 1 })));
