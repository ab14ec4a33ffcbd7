import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireFloat, requireSameDType, resolveAxis } from './broadcast.ts';

export interface ReduceOptions {
  /** Axes to reduce; default all. Negative ones count from the end. */
  axes?: number | readonly number[];
  /** Keep reduced axes with size 1. Default false. */
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

export const sum = reduce('ReduceSum');
export const mean = reduce('ReduceMean');
/** Largest along the axes; ties share the gradient equally. */
export const max = reduce('ReduceMax');
export const min = reduce('ReduceMin');
/** log Σ exp(x), computed around the maximum. */
export const logSumExp = reduce('ReduceLogSumExp');

const normalised =
  (op: 'Softmax' | 'LogSoftmax') =>
  (x: Tensor, axis = -1): Tensor => {
    requireFloat(op, x);
    return x.graph.add(op, [x], { axis: resolveAxis(op, x, axis) }, [{ dtype: x.dtype, shape: x.shape }])[0]!;
  };

/** exp(x) / Σ exp(x) along one axis (default the last), computed around the maximum. */
export const softmax = normalised('Softmax');
/** x − log Σ exp(x) along one axis (default the last). */
export const logSoftmax = normalised('LogSoftmax');

/**
 * y = scale · (x − mean) / √(variance + ε) + bias over the last axis.
 *
 * @param x  float[…, D]
 * @param weights.scale  float[D]
 * @param weights.bias  float[D]
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

/** Index of the largest element along an axis (the first of equals), i64. No gradient. */
export function argMax(x: Tensor, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  const axis = resolveAxis('argMax', x, options.axis ?? -1);
  const keepDims = options.keepDims ?? false;
  const shape = x.shape.flatMap((dim, i) => (i === axis ? (keepDims ? [1] : []) : [dim]));
  return x.graph.add('ArgMax', [x], { axis, keepDims }, [{ dtype: 'i64', shape }])[0]!;
}
