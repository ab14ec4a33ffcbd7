import { slice } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * Truncates rows to their first dimensions: float[…, D] → float[…, dimensions]. Rows that have no more are
 * returned unchanged.
 */
export function truncate(x: Tensor, dimensions: number): Tensor {
  const axis = x.rank - 1;
  return x.shape[axis] === dimensions ? x : slice(x, { axis, length: dimensions });
}
