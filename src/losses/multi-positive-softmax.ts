import { and, cast, div, logSumExp, max, maximum, mul, sub, sum, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/** Candidates of each query, and those that are right. */
export interface MultiPositiveTargets {
  /** bool[Q, K]: candidates that take part. The scores of others may hold any finite number. */
  readonly allowed: Tensor;
  /** bool[Q, K]: right answers among them. A query without any is skipped. */
  readonly positive: Tensor;
}

/**
 * Mean negative log-probability that a candidate which is drawn from the softmax of the scores is one of the right ones:
 *
 *     L = mean_i [ log Σ_{j allowed} exp(s_ij) − log Σ_{j positive} exp(s_ij) ]
 *
 * over the queries with a right candidate; 0 where there is no such query. With one right candidate it is `softmaxCrossEntropy`.
 *
 * Gradient: to `scores`. That of a query is P_j − P_j [j positive] / Σ_positive P, divided by the number of queries.
 *
 * @param scores f32[Q, K], already divided by the temperature
 * @returns f32[], in nats per query
 */
export function multiPositiveSoftmax(scores: Tensor, { allowed, positive }: MultiPositiveTargets): Tensor {
  const right = and(allowed, positive);
  const among = (chosen: Tensor) => logSumExp(where(chosen, scores, MASKED_SCORE), { axes: 1 });
  const counted = max(cast(right, 'f32'), { axes: 1 });
  const nats = sum(mul(counted, sub(among(allowed), among(right))));
  return div(nats, maximum(sum(counted), 1));
}
