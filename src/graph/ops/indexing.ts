import { ShapeError } from '../../util/errors.ts';
import { type Dim, sameDim, sameShape } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireDType, requireFloat, requireSameDType, resolveAxis } from './broadcast.ts';
import { cast, equal } from './elementwise.ts';
import { range, unsqueeze } from './shape.ts';

/**
 * Gathers slices of x along one axis by index.
 *
 * @param x [N, …] for axis 0
 * @param indices i64 of any shape; an index out of range fails at run time; gets no gradient
 * @param options.axis default 0
 * @returns x with its axis replaced by the shape of the indices: [indices…, …]
 */
export function gather(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  requireDType('gather', indices, 'i64');
  const axis = resolveAxis('gather', x, options.axis ?? 0);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return x.graph.add('Gather', [x, indices], { axis }, [{ dtype: x.dtype, shape }])[0]!;
}

/**
 * Gathers the rows of a matrix in another order: y[i] = x[indices[i]].
 *
 * The gradient is gathered by the given inverse, dx[n] = dy[inverse[n]]. This avoids a sum over repeated
 * indices, which would be a scatter of single elements. Each row of x should occur in y once. For a row that
 * does not occur, the gradient is the one that `inverse` selects, and the caller must multiply it by zero.
 *
 * @param x [N, D]
 * @param indices i64[R]
 * @param inverse i64[N]: for each row of x, its position in y
 * @returns [R, D]
 * @throws ShapeError if the shapes do not match.
 */
export function takeRows(x: Tensor, indices: Tensor, inverse: Tensor): Tensor {
  requireDType('takeRows', indices, 'i64');
  requireDType('takeRows', inverse, 'i64');
  if (x.rank !== 2 || indices.rank !== 1 || inverse.rank !== 1 || !sameDim(inverse.shape[0]!, x.shape[0]!)) {
    throw new ShapeError(
      `takeRows: ${x.describe()} needs an inverse for each row, not ${inverse.describe()}`,
    );
  }
  const shape = [indices.shape[0]!, x.shape[1]!];
  return x.graph.add('TakeRows', [x, indices, inverse], {}, [{ dtype: x.dtype, shape }])[0]!;
}

function requireIndexShape(what: string, x: Tensor, indices: Tensor, axis: number): void {
  requireDType(what, indices, 'i64');
  if (indices.rank !== x.rank || indices.shape.some((dim, i) => i !== axis && !sameDim(dim, x.shape[i]!))) {
    throw new ShapeError(`${what}: ${indices.describe()} must match ${x.describe()} in all axes but ${axis}`);
  }
}

/**
 * Gathers single elements along one axis. For axis 1 of a matrix: result[i, j] = x[i, indices[i, j]].
 *
 * @param indices i64 with the shape of x except along the axis; gets no gradient
 * @param options.axis default: the last
 * @returns tensor with the shape of the indices
 */
export function gatherElements(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  const axis = resolveAxis('gatherElements', x, options.axis ?? -1);
  requireIndexShape('gatherElements', x, indices, axis);
  return x.graph.add('GatherElements', [x, indices], { axis }, [
    { dtype: x.dtype, shape: indices.shape },
  ])[0]!;
}

/**
 * Adds updates to elements of base. Updates with equal indices are summed.
 *
 * For axis 0 of a matrix: result[indices[i, j], j] += updates[i, j].
 *
 * @param base float[N, D]
 * @param indices i64[M, D]; gets no gradient
 * @param updates float[M, D]
 * @param options.axis default 0
 */
export const scatterAdd = scattering('ScatterAdd');

/**
 * Replaces elements of base by updates. The indices must be distinct.
 *
 * For axis 0 of a matrix: result[indices[i, j], j] = updates[i, j].
 *
 * @param base float[N, D]
 * @param indices i64[M, D]; gets no gradient
 * @param updates float[M, D]
 * @param options.axis default 0
 */
export const scatter = scattering('Scatter');

function scattering(op: 'ScatterAdd' | 'Scatter') {
  const what = op === 'Scatter' ? 'scatter' : 'scatterAdd';
  return (base: Tensor, indices: Tensor, updates: Tensor, options: { axis?: number } = {}): Tensor => {
    const axis = resolveAxis(what, base, options.axis ?? 0);
    requireIndexShape(what, base, indices, axis);
    requireSameDType(what, base, updates);
    if (!sameShape(indices.shape, updates.shape)) {
      throw new ShapeError(`${what}: ${updates.describe()} must have the shape of ${indices.describe()}`);
    }
    const outputs = [{ dtype: base.dtype, shape: base.shape }];
    return base.graph.add(op, [base, indices, updates], { axis }, outputs)[0]!;
  };
}

/**
 * Finds the k largest (or smallest) elements along an axis, sorted, and their positions (i64).
 *
 * The gradient flows through the values. The positions have none.
 *
 * @param x float of any shape
 * @param options.k number of elements
 * @param options.axis default: the last
 * @param options.largest false for the smallest elements; default true
 * @throws ShapeError if k exceeds the size of the axis, where both are known.
 */
export function topK(
  x: Tensor,
  options: { k: Dim; axis?: number; largest?: boolean },
): { values: Tensor; indices: Tensor } {
  requireFloat('topK', x);
  const axis = resolveAxis('topK', x, options.axis ?? -1);
  const size = x.shape[axis]!;
  if (typeof options.k === 'number' && typeof size === 'number' && options.k > size) {
    throw new ShapeError(`topK: k = ${options.k} is more than axis ${axis} of ${x.describe()} has`);
  }
  const shape = x.shape.map((dim, i) => (i === axis ? options.k : dim));
  const attributes = { axis, k: options.k, largest: options.largest ?? true };
  const [values, indices] = x.graph.add('TopK', [x], attributes, [
    { dtype: x.dtype, shape },
    { dtype: 'i64', shape },
  ]);
  return { values: values!, indices: indices! };
}

/**
 * One-hot rows in f32: 1 at the index (i64), else 0. No gradient.
 *
 * @returns f32[indices…, depth]
 */
export function oneHot(indices: Tensor, depth: Dim): Tensor {
  requireDType('oneHot', indices, 'i64');
  return cast(equal(unsqueeze(indices, indices.rank), range(indices.graph, depth)), 'f32');
}
