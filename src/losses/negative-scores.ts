import { cast, div, maximum, mean, sum, where } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** Scores of B queries with their positives and with sampled negatives. */
export interface NegativeScores {
  /** f32[B]: scores of the positives, computed with the current weights. */
  readonly positive: Tensor;
  /** f32[B, k]: scores of each query's own negatives, computed with the current weights. */
  readonly negatives: Tensor;
  /** bool[B, k]: negatives that take part; entries that do not may hold anything. Default: all. */
  readonly allowed?: Tensor | undefined;
}

/**
 * Replaces the scores of negatives that are not allowed by 0. Such entries may hold NaN, which must not reach
 * a gradient.
 *
 * @returns f32[B, k]
 */
export const allowedNegatives = ({ negatives, allowed }: NegativeScores): Tensor =>
  allowed ? where(allowed, negatives, 0) : negatives;

/**
 * Mean of the allowed entries of each row; 0 for a row without any.
 *
 * @param x f32[B, k]
 * @param allowed bool[B, k]; default: all
 * @returns f32[B]
 */
export function meanOfAllowed(x: Tensor, allowed?: Tensor): Tensor {
  if (!allowed) return mean(x, { axes: 1 });
  const count = sum(cast(allowed, x.dtype), { axes: 1 });
  return div(sum(where(allowed, x, 0), { axes: 1 }), maximum(count, 1));
}
