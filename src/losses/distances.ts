import { add, matmul, maximum, mul, sqrt, square, sub, sum, transpose } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize } from '../nn/layers.ts';

/** Names of the distances that `distances` computes. */
export const DISTANCES = ['cosine', 'euclidean'] as const;
/** Name of a distance. */
export type DistanceName = (typeof DISTANCES)[number];

/**
 * Cosines of all rows of x with all rows of y.
 *
 * @param x f32[B, D]
 * @param y f32[C, D]
 * @returns f32[B, C]
 */
export const cosines = (x: Tensor, y: Tensor): Tensor => matmul(normalize(x), normalize(y), { transB: true });

/**
 * Cosine of each row of x with the row of y of the same number.
 *
 * @param x f32[B, D]
 * @param y f32[B, D]
 * @returns f32[B]
 */
export const pairCosines = (x: Tensor, y: Tensor): Tensor =>
  sum(mul(normalize(x), normalize(y)), { axes: 1 });

/**
 * Distances of all rows of x to all rows of y.
 *
 *     cosine:     1 − x_i·y_j / (‖x_i‖ ‖y_j‖)
 *     euclidean:  ‖x_i − y_j‖ = √(‖x_i‖² + ‖y_j‖² − 2 x_i·y_j),   at least 1e-6
 *
 * The gradient of a Euclidean distance below 1e-6 is 0.
 *
 * @param x f32[B, D]
 * @param y f32[C, D]
 * @returns f32[B, C]
 */
export function distances(x: Tensor, y: Tensor, kind: DistanceName): Tensor {
  if (kind === 'cosine') return sub(1, cosines(x, y));
  const squares = (of: Tensor) => sum(square(of), { axes: 1, keepDims: true });
  const squared = sub(add(squares(x), transpose(squares(y))), mul(matmul(x, y, { transB: true }), 2));
  return sqrt(maximum(squared, 1e-12));
}
