import type { DType } from '../../onnx/dtypes.ts';
import { ShapeError } from '../../util/errors.ts';
import { addDims, type Dim, formatShape, multiplyDims, sameDim, sameShape, subtractDims } from '../dims.ts';
import type { Graph } from '../graph.ts';
import type { Tensor } from '../tensor.ts';
import { broadcastShapes, requireSameDType, resolveAxis } from './broadcast.ts';

/**
 * Returns the elements of x in another shape, whose dimensions may be named: `reshape(x, ['batch', 'tokens',
 * 12, 32])`.
 *
 * @throws ShapeError if the number of elements differs.
 */
export function reshape(x: Tensor, shape: readonly Dim[]): Tensor {
  if (!sameDim(multiplyDims(...x.shape), multiplyDims(...shape))) {
    throw new ShapeError(
      `reshape: ${x.describe()} does not have the number of elements of ${formatShape(shape)}`,
    );
  }
  if (sameShape(x.shape, shape)) return x;
  return x.graph.add('Reshape', [x], { shape: [...shape] }, [{ dtype: x.dtype, shape }])[0]!;
}

/** Inserts an axis of size 1. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = resolveAxis('unsqueeze', x, axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** Removes an axis of size 1. */
export function squeeze(x: Tensor, axis: number): Tensor {
  const at = resolveAxis('squeeze', x, axis);
  return reshape(x, [...x.shape.slice(0, at), ...x.shape.slice(at + 1)]);
}

/**
 * Reorders axes: axis i of the result is axis `perm[i]` of x. Default: reversed order.
 *
 * @throws ShapeError if `perm` is not a permutation of the axes.
 */
export function transpose(
  x: Tensor,
  perm: readonly number[] = x.shape.map((_, i) => x.rank - 1 - i),
): Tensor {
  if ([...perm].sort((a, b) => a - b).some((axis, i) => axis !== i) || perm.length !== x.rank) {
    throw new ShapeError(`transpose: [${perm}] is no order of the ${x.rank} axes of ${x.describe()}`);
  }
  const shape = perm.map((axis) => x.shape[axis]!);
  return x.graph.add('Transpose', [x], { perm: [...perm] }, [{ dtype: x.dtype, shape }])[0]!;
}

/**
 * Joins tensors along one axis. All other axes must agree.
 *
 * @throws ShapeError if there are no tensors, or their dtypes or other axes differ.
 */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0];
  if (!first) throw new ShapeError('concat: needs at least one tensor');
  const at = resolveAxis('concat', first, axis);
  for (const x of tensors) {
    requireSameDType('concat', first, x);
    if (x.rank !== first.rank || x.shape.some((dim, i) => i !== at && !sameDim(dim, first.shape[i]!))) {
      throw new ShapeError(
        `concat along axis ${at}: ${first.describe()} and ${x.describe()} differ in another axis`,
      );
    }
  }
  if (tensors.length === 1) return first;
  const shape = first.shape.map((dim, i) => (i === at ? addDims(...tensors.map((x) => x.shape[at]!)) : dim));
  return first.graph.add('Concat', tensors, { axis: at }, [{ dtype: first.dtype, shape }])[0]!;
}

/**
 * Takes `length` elements of one axis from index `start` (default 0) on. Default length: up to the end.
 *
 * @throws ShapeError if the range exceeds the axis, where the sizes are known.
 */
export function slice(x: Tensor, options: { axis: number; start?: Dim; length?: Dim }): Tensor {
  const axis = resolveAxis('slice', x, options.axis);
  const start = options.start ?? 0;
  const length = options.length ?? subtractDims(x.shape[axis]!, start);
  const rest = subtractDims(subtractDims(x.shape[axis]!, start), length);
  if ((typeof rest === 'number' && rest < 0) || (typeof length === 'number' && length < 0)) {
    throw new ShapeError(`slice: ${start} + ${length} runs past axis ${axis} of ${x.describe()}`);
  }
  const shape = x.shape.map((dim, i) => (i === axis ? length : dim));
  return x.graph.add('Slice', [x], { axis, start, length }, [{ dtype: x.dtype, shape }])[0]!;
}

/**
 * Splits one axis into pieces of the given sizes.
 *
 * @throws ShapeError if the sizes do not add up to that of the axis.
 */
export function split(x: Tensor, sizes: readonly Dim[], axis: number): Tensor[] {
  const at = resolveAxis('split', x, axis);
  if (!sameDim(addDims(...sizes), x.shape[at]!)) {
    throw new ShapeError(`split: sizes [${sizes}] do not add up to axis ${at} of ${x.describe()}`);
  }
  const results = sizes.map((size) => ({
    dtype: x.dtype,
    shape: x.shape.map((dim, i) => (i === at ? size : dim)),
  }));
  return x.graph.add('Split', [x], { axis: at, sizes: [...sizes] }, results);
}

/**
 * Repeats axes of size 1, and adds leading axes, until x has the given shape.
 *
 * @throws ShapeError if x does not broadcast to the shape.
 */
export function expand(x: Tensor, shape: readonly Dim[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (!sameShape(broadcastShapes('expand', x, x, x.shape, shape), shape)) {
    throw new ShapeError(`expand: ${x.describe()} can not become ${formatShape(shape)}`);
  }
  return x.graph.add('Expand', [x], { shape: [...shape] }, [{ dtype: x.dtype, shape }])[0]!;
}

/** Tensor with one value in every element. Dimensions may be named. */
export function fill(graph: Graph, value: number, shape: readonly Dim[], dtype: DType = 'f32'): Tensor {
  return graph.add('Fill', [], { shape: [...shape], value, dtype }, [{ dtype, shape }])[0]!;
}

/** Vector 0, 1, …, length − 1 as i64. */
export function range(graph: Graph, length: Dim): Tensor {
  return graph.add('Range', [], { length }, [{ dtype: 'i64', shape: [length] }])[0]!;
}

/** Size of a dimension as a scalar, for averages over dimensions that are known at run time only. */
export function dimSize(graph: Graph, dim: Dim, dtype: DType = 'f32'): Tensor {
  return graph.add('DimSize', [], { dim, dtype }, [{ dtype, shape: [] }])[0]!;
}
