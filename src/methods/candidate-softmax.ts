import { cast, gatherElements, greaterOrEqual, max, mean, range, unsqueeze, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softmaxCrossEntropy } from '../losses/softmax-cross-entropy.ts';
import type { LossParts } from './contrastive-step.ts';

/**
 * Softmax cross-entropy of each query's positive among all candidates of the step, of which the first B are the positives in
 * the queries' order.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(s_ij) − s_ii ]
 *
 * Input to feed: `allowed` bool[B, candidates], see `allowedCandidates`. Logs `accuracy`, the share of queries whose positive
 * scores best among what is allowed.
 */
export function candidateSoftmax(scores: Tensor): LossParts {
  const target = range(scores.graph, 'queries');
  const allowed = scores.graph.input('allowed', 'bool', scores.shape);
  const positive = gatherElements(scores, unsqueeze(target, 1), { axis: 1 });
  const best = max(where(allowed, scores, -1e30), { axes: 1, keepDims: true });
  return {
    trainingLoss: softmaxCrossEntropy(scores, target, { allowed }),
    metrics: { accuracy: mean(cast(greaterOrEqual(positive, best), 'f32')) },
  };
}
