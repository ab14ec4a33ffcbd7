import { cast, gatherElements, greaterOrEqual, max, mean, range, unsqueeze, where } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { softmaxCrossEntropy } from '../../losses/softmax-cross-entropy.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';
import type { LossParts, ScoredBatch } from './score-loss.ts';

/**
 * Softmax cross-entropy of each query's positive among all candidates of the step. The first B candidates are the positives, in
 * the queries' order.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(s_ij) − s_ii ]
 *
 * The step must feed the input `allowed` (see `allowedInput`). Logs `accuracy`.
 */
export function candidateSoftmax(batch: ScoredBatch): LossParts {
  const { scores } = batch;
  const allowed = allowedInput(batch);
  return {
    trainingLoss: softmaxCrossEntropy(scores, range(scores.graph, 'queries'), { allowed }),
    metrics: { accuracy: accuracy(scores, allowed) },
  };
}

/** Declares the input `allowed` bool[queries, candidates], which `allowedCandidates` computes. */
export const allowedInput = ({ scores, input }: ScoredBatch): Tensor =>
  input('allowed', 'bool', scores.shape);

/**
 * Computes the share of queries whose positive scores highest among the allowed candidates: f32[]. The positive of query i is
 * candidate i.
 *
 * @param scores  f32[queries, candidates]
 * @param allowed  bool[queries, candidates]
 */
export function accuracy(scores: Tensor, allowed: Tensor): Tensor {
  const own = unsqueeze(range(scores.graph, 'queries'), 1);
  const positive = gatherElements(scores, own, { axis: 1 });
  const best = max(where(allowed, scores, MASKED_SCORE), { axes: 1, keepDims: true });
  return mean(cast(greaterOrEqual(positive, best), 'f32'));
}
