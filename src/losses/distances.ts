import { add, matmul, maximum, mul, sqrt, square, sub, sum, transpose } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize } from '../nn/layers.ts';

export const DISTANCES = ['cosine', 'euclidean'] as const;
export type DistanceName = (typeof DISTANCES)[number];

/** f32[B, C]: cosines of the rows of two matrices. */
export const cosines = (x: Tensor, y: Tensor): Tensor => matmul(normalize(x), normalize(y), { transB: true });

/** f32[B]: cosines of rows with the rows of the same number. */
export const pairCosines = (x: Tensor, y: Tensor): Tensor =>
  sum(mul(normalize(x), normalize(y)), { axes: 1 });

/**
 * Distances of all rows of x to all rows of y.
 *
 *   cosine:     1 − x_i·y_j / (‖x_i‖ ‖y_j‖)
 *   euclidean:  ‖x_i − y_j‖ = √(‖x_i‖² + ‖y_j‖² − 2 x_i·y_j),   at least 1e-6, where its gradient is 0
 *
 * @param x  f32[B, D];  @param y  f32[C, D]
 * @returns  f32[B, C]
 */
export function distances(x: Tensor, y: Tensor, kind: DistanceName): Tensor {
  if (kind === 'cosine') return sub(1, cosines(x, y));
  const squares = (of: Tensor) => sum(square(of), { axes: 1, keepDims: true });
  const squared = sub(add(squares(x), transpose(squares(y))), mul(matmul(x, y, { transB: true }), 2));
  return sqrt(maximum(squared, 1e-12));
}
