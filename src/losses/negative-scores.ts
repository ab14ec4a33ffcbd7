import { cast, div, maximum, mean, sum, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** What losses over sampled negatives compare, for each of B queries. */
export interface NegativeScores {
  /** f32[B]: scores of the positives, made with the current weights. */
  readonly positive: Tensor;
  /** f32[B, k]: scores of the query's own negatives, made with the current weights. */
  readonly negatives: Tensor;
  /** bool[B, k]: negatives that take part; the others may hold anything. Default: all. */
  readonly allowed?: Tensor | undefined;
}

/** The negatives with 0 for those that are not allowed: what takes no part may be no number, and must not become a gradient. */
export const allowedNegatives = ({ negatives, allowed }: NegativeScores): Tensor =>
  allowed ? where(allowed, negatives, 0) : negatives;

/** f32[B]: the mean over the allowed entries of each row; 0 for a row without. */
export function meanOfAllowed(x: Tensor, allowed?: Tensor): Tensor {
  if (!allowed) return mean(x, { axes: 1 });
  const count = sum(cast(allowed, x.dtype), { axes: 1 });
  return div(sum(where(allowed, x, 0), { axes: 1 }), maximum(count, 1));
}
