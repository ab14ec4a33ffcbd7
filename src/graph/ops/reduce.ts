import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireFloat, requireSameDType, resolveAxis } from './broadcast.ts';

/** Options of a reduction. */
export interface ReduceOptions {
  /** Axes to reduce. Negative axes count from the end. Default: all. */
  axes?: number | readonly number[];
  /** Whether to keep reduced axes, with size 1. Default false. */
  keepDims?: boolean;
}

type ReduceOp = 'ReduceSum' | 'ReduceMean' | 'ReduceMax' | 'ReduceMin' | 'ReduceLogSumExp';

const reduce =
  (op: ReduceOp) =>
  (x: Tensor, options: ReduceOptions = {}): Tensor => {
    requireFloat(op, x);
    const given = options.axes ?? x.shape.map((_, axis) => axis);
    const axes = [
      ...new Set((typeof given === 'number' ? [given] : given).map((axis) => resolveAxis(op, x, axis))),
    ].sort((a, b) => a - b);
    const keepDims = options.keepDims ?? false;
    const shape = x.shape.flatMap((dim, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [dim]));
    return x.graph.add(op, [x], { axes, keepDims }, [{ dtype: x.dtype, shape }])[0]!;
  };

/** Sum along axes. x: float of any shape. */
export const sum = reduce('ReduceSum');
/** Mean along axes. x: float of any shape. */
export const mean = reduce('ReduceMean');
/** Largest element along axes. Equal largest elements share the gradient equally. x: float of any shape. */
export const max = reduce('ReduceMax');
/** Smallest element along axes. Equal smallest elements share the gradient equally. x: float of any shape. */
export const min = reduce('ReduceMin');
/**
 * log Σ exp(x) along axes. The maximum is subtracted first, so exp does not overflow. x: float of any shape.
 */
export const logSumExp = reduce('ReduceLogSumExp');

const normalised =
  (op: 'Softmax' | 'LogSoftmax') =>
  (x: Tensor, axis = -1): Tensor => {
    requireFloat(op, x);
    return x.graph.add(op, [x], { axis: resolveAxis(op, x, axis) }, [{ dtype: x.dtype, shape: x.shape }])[0]!;
  };

/**
 * exp(x) / Σ exp(x) along one axis (default: the last). The maximum is subtracted first, so exp does not
 * overflow.
 */
export const softmax = normalised('Softmax');
/** x − log Σ exp(x) along one axis (default: the last). */
export const logSoftmax = normalised('LogSoftmax');

/**
 * Layer norm over the last axis: y = scale · (x − mean) / √(variance + ε) + bias.
 *
 * @param x float[…, D]
 * @param weights.scale float[D]
 * @param weights.bias float[D]
 * @param options.epsilon ε; default 1e-12
 * @returns float[…, D]
 * @throws ShapeError if the weights do not match the last axis or the dtype of x.
 */
export function layerNorm(
  x: Tensor,
  weights: { scale: Tensor; bias: Tensor },
  options: { epsilon?: number } = {},
): Tensor {
  requireFloat('layerNorm', x);
  const size = x.shape[x.rank - 1];
  for (const w of [weights.scale, weights.bias]) {
    requireSameDType('layerNorm', x, w);
    if (size === undefined || w.rank !== 1 || !sameDim(w.shape[0]!, size)) {
      throw new ShapeError(
        `layerNorm: ${w.describe()} must have shape [${size}], the last axis of ${x.describe()}`,
      );
    }
  }
  const row = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
  const attributes = { epsilon: options.epsilon ?? 1e-12 };
  const inputs = [x, weights.scale, weights.bias];
  return x.graph.add('LayerNormalization', inputs, attributes, [
    { dtype: x.dtype, shape: x.shape },
    row,
    row,
  ])[0]!;
}

/**
 * Index of the largest element along an axis (default: the last), as i64. Of equal elements the first counts.
 * No gradient.
 */
export function argMax(x: Tensor, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  const axis = resolveAxis('argMax', x, options.axis ?? -1);
  const keepDims = options.keepDims ?? false;
  const shape = x.shape.flatMap((dim, i) => (i === axis ? (keepDims ? [1] : []) : [dim]));
  return x.graph.add('ArgMax', [x], { axis, keepDims }, [{ dtype: 'i64', shape }])[0]!;
}
