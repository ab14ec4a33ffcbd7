import { mean, mul, neg, sigmoid, softplus, stopGradient, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * The expectation form of the softmax cross-entropy over a whole score table, from k of its documents per query.
 *
 *   p⁺_i = sg( e^{s⁺_i} / (e^{s⁺_i} + Z_i) ),     Z_i = Σ_{n ∈ table} e^{s̃_in}
 *
 *   trainingLoss       = (1/B) Σ_i (1 − p⁺_i) · ( (1/k) Σ_j s_ij − s⁺_i )
 *   interpretableLoss  = (1/B) Σ_i − log p⁺_i
 *
 * with s fresh scores, s̃ those of the table, and negatives j drawn from the table with probability e^{s̃_ij} / Z_i. The
 * gradient of the cross-entropy is  −(1 − p⁺) ∇s⁺ + Σ_n p_n ∇s_n,  and p_n / (1 − p⁺) is the probability of the draw: on a
 * fresh table the expected gradient is exact, for any k ≥ 1. The value of the training loss means nothing; plot the other.
 *
 * All weights come from the table. One that is never written to makes it push documents that were pushed away long ago; see
 * `importanceCorrected`.
 *
 * @param scores  with `allowed` false, a draw is left out of its query's mean; a query without draws adds 0
 * @param logPartition  f32[B]: log Z of the table, the query's right answers left out
 * Gradient: to `positive` and `negatives`. None to `logPartition`, none through p⁺, none from `interpretableLoss`.
 *
 * Paper: Lindgren, Reddi, Guo, Kumar: "Efficient Training of Retrieval Models using Negative Cache", NeurIPS 2021. Differs:
 * k draws instead of one; the paper's code samples from groups' maxima (`top_k`), here it is the whole table.
 */
export function expectation(
  scores: NegativeScores,
  logPartition: Tensor,
): { trainingLoss: Tensor; interpretableLoss: Tensor } {
  const { positive, allowed } = scores;
  const logOdds = stopGradient(sub(positive, logPartition));
  const difference = meanOfAllowed(sub(allowedNegatives(scores), unsqueeze(positive, 1)), allowed);
  return {
    // 1 − p⁺ and −log p⁺ as functions of the log-odds lose nothing where p⁺ is near 0 or 1.
    trainingLoss: mean(mul(sigmoid(neg(logOdds)), difference)),
    interpretableLoss: mean(softplus(neg(logOdds))),
  };
}
