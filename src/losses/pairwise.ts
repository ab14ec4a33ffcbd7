import { mean, softplus, sub, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { allowedNegatives, meanOfAllowed, type NegativeScores } from './negative-scores.ts';

/**
 * Negative log-likelihood of the positive against one negative at a time.
 *
 *     L = (1/B) Σ_i (1/k) Σ_j − log( e^{s⁺_i} / (e^{s⁺_i} + e^{s_ij}) ) = (1/B) Σ_i (1/k) Σ_j log(1 + e^{s_ij − s⁺_i})
 *
 * Gradient: to `positive` and `negatives`.
 *
 * Paper: Xiong et al., "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval"
 * (ANCE), arXiv:2007.00808; the logistic loss of RankNet, Burges et al., ICML 2005.
 *
 * @param scores scores of positives and negatives; a negative that is not `allowed` is left out of its
 *   query's mean, and a query without negatives adds 0
 * @returns f32[], in nats
 */
export function pairwise(scores: NegativeScores): Tensor {
  const { positive, allowed } = scores;
  return mean(meanOfAllowed(softplus(sub(allowedNegatives(scores), unsqueeze(positive, 1))), allowed));
}
