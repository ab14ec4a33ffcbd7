import { ShapeError } from '../../util/errors.ts';
import { type Dim, sameDim, sameShape } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireDType, requireFloat, requireSameDType, resolveAxis } from './broadcast.ts';
import { cast, equal } from './elementwise.ts';
import { range, unsqueeze } from './shape.ts';

/**
 * Picks whole slices of one axis by number.
 *
 * @param x  [N, …] for axis 0
 * @param indices  i64, any shape; out of range fails at run time
 * @returns  the indices' shape in place of the axis: [indices…, …]
 */
export function gather(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  requireDType('gather', indices, 'i64');
  const axis = resolveAxis('gather', x, options.axis ?? 0);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return x.graph.add('Gather', [x, indices], { axis }, [{ dtype: x.dtype, shape }])[0]!;
}

/**
 * Rows of a matrix at other places: y[i] = x[indices[i]]. The gradient goes back by the given inverse, dx[n] = dy[inverse[n]]: no sum
 * over repeated indices, which would be a scatter of single elements. Each row of x is to stand in y once; for one that does not,
 * whatever `inverse` says comes back, and the caller multiplies it by zero.
 *
 * @param x  [N, D];  @param indices  i64[R];  @param inverse  i64[N]: the row of y that a row of x has become
 * @returns  [R, D]
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

/** result[i, j] = x[i, indices[i, j]] for axis 1 of a matrix, and likewise for other ranks. */
export function gatherElements(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  const axis = resolveAxis('gatherElements', x, options.axis ?? -1);
  requireIndexShape('gatherElements', x, indices, axis);
  return x.graph.add('GatherElements', [x, indices], { axis }, [
    { dtype: x.dtype, shape: indices.shape },
  ])[0]!;
}

/**
 * base with updates added: result[indices[i, j], j] += updates[i, j] for axis 0 of a matrix. Repeated indices add up.
 *
 * @param base  float[N, D];  @param indices  i64[M, D];  @param updates  float[M, D]
 */
export const scatterAdd = scattering('ScatterAdd');

/**
 * base with elements replaced: result[indices[i, j], j] = updates[i, j] for axis 0 of a matrix. Indices must be distinct.
 *
 * @param base  float[N, D];  @param indices  i64[M, D];  @param updates  float[M, D]
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

/** The k largest (or smallest) along an axis, sorted, with their positions (i64). The gradient goes to the values. */
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

/** f32 one-hot rows: 1 where the index (i64) is, else 0. No gradient. */
export function oneHot(indices: Tensor, depth: Dim): Tensor {
  requireDType('oneHot', indices, 'i64');
  return cast(equal(unsqueeze(indices, indices.rank), range(indices.graph, depth)), 'f32');
}
