import { slice } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** The first dimensions of each row: float[…, D] → float[…, dimensions]; the same tensor where it has no more. */
export function truncate(x: Tensor, dimensions: number): Tensor {
  const axis = x.rank - 1;
  return x.shape[axis] === dimensions ? x : slice(x, { axis, length: dimensions });
}
