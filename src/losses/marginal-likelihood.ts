import { add, concat, logSumExp, mean, stopGradient, sub, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { NegativeScores } from './negative-scores.ts';

/**
 * Negative log-likelihood of a text under a frozen language model that reads one candidate, which the scores choose at random:
 *
 *     L = −(1/B) Σ_i log Σ_c softmax_c(s_ic) exp(ℓ_ic)
 *
 * with the log-likelihoods ℓ of the text given each candidate. Only differences of ℓ in one list matter to the gradient: it is
 * softmax(s) − softmax(s + ℓ).
 *
 * Gradient: to `positive` and `negatives`; none to the log-likelihoods.
 *
 * Paper: Ram et al., "In-Context Retrieval-Augmented Language Models", TACL 2023, section 6.2 (predictive reranking).
 *
 * @param scores  scores of the reranker; a negative that is not `allowed` is no candidate of its query
 * @param logLikelihoods.positive  f32[B], in nats
 * @param logLikelihoods.negatives  f32[B, k], in nats; entries that are not allowed may hold any finite number
 * @returns f32[], in nats per query
 */
export function marginalLikelihood(
  { positive, negatives, allowed }: NegativeScores,
  logLikelihoods: { positive: Tensor; negatives: Tensor },
): Tensor {
  const all = (first: Tensor, rest: Tensor, masked: number) =>
    concat([unsqueeze(first, 1), allowed ? where(allowed, rest, masked) : rest], 1);
  const scores = all(positive, negatives, MASKED_SCORE);
  const texts = stopGradient(all(logLikelihoods.positive, logLikelihoods.negatives, 0));
  return mean(sub(logSumExp(scores, { axes: 1 }), logSumExp(add(scores, texts), { axes: 1 })));
}
