import { mean, mul, neg, sigmoid, softplus, stopGradient, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * Softmax cross-entropy over a whole score table, in expectation form, from k sampled documents per query.
 *
 *     p⁺_i = sg( e^{s⁺_i} / (e^{s⁺_i} + Z_i) ),     Z_i = Σ_{n ∈ table} e^{s̃_in}
 *
 *     trainingLoss       = (1/B) Σ_i (1 − p⁺_i) · ( (1/k) Σ_j s_ij − s⁺_i )
 *     interpretableLoss  = (1/B) Σ_i − log p⁺_i
 *
 * Here s are fresh scores, s̃ the scores in the table, and the negatives j are drawn from the table with
 * probability e^{s̃_ij} / Z_i. The gradient of the cross-entropy is −(1 − p⁺) ∇s⁺ + Σ_n p_n ∇s_n, and p_n /
 * (1 − p⁺) is the probability of drawing n. On a fresh table the expected gradient is therefore exact, for
 * any k ≥ 1. The value of the training loss has no meaning; plot the interpretable loss.
 *
 * All weights come from the table. If the table is never refreshed, the loss keeps pushing away documents
 * that are far away already; see `importanceCorrected`.
 *
 * Gradient: to `positive` and `negatives`. None to `logPartition`, none through p⁺, none from
 * `interpretableLoss`.
 *
 * Paper: Lindgren, Reddi, Guo, Kumar: "Efficient Training of Retrieval Models using Negative Cache", NeurIPS
 * 2021. Differs: k draws instead of one; draws come from the whole table, where the paper's code samples from
 * the maxima of groups (`top_k`).
 *
 * @param scores scores of positives and draws; a draw that is not `allowed` is left out of its query's mean,
 *   and a query without draws adds 0
 * @param logPartition f32[B]: log Z of the table, without the query's right answers
 * @returns f32[] each
 */
export function expectation(
  scores: NegativeScores,
  logPartition: Tensor,
): { trainingLoss: Tensor; interpretableLoss: Tensor } {
  const { positive, allowed } = scores;
  const logOdds = stopGradient(sub(positive, logPartition));
  const difference = meanOfAllowed(sub(allowedNegatives(scores), unsqueeze(positive, 1)), allowed);
  return {
    // As functions of the log-odds, 1 − p⁺ and −log p⁺ lose no precision where p⁺ is near 0 or 1.
    trainingLoss: mean(mul(sigmoid(neg(logOdds)), difference)),
    interpretableLoss: mean(softplus(neg(logOdds))),
  };
}
