import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { broadcastShapes, requireFloat, requireSameDType } from './broadcast.ts';

/** Options of a matrix product. */
export interface MatmulOptions {
  /** Whether to transpose the last two axes of the first operand. Default false. */
  transA?: boolean;
  /** Whether to transpose the last two axes of the second operand. Default false. */
  transB?: boolean;
  /** Factor on the product. Default 1. */
  alpha?: number;
}

/** Rows and columns of a matrix operand after the optional transposition. */
function matrixDims(x: Tensor, transposed: boolean) {
  const [rows, columns] = [x.shape[x.rank - 2]!, x.shape[x.rank - 1]!];
  return transposed ? [columns, rows] : [rows, columns];
}

function checkInner(what: string, a: Tensor, b: Tensor, options: MatmulOptions) {
  requireFloat(what, a);
  requireSameDType(what, a, b);
  const [m, innerA] = matrixDims(a, options.transA ?? false);
  const [innerB, n] = matrixDims(b, options.transB ?? false);
  if (!sameDim(innerA!, innerB!)) {
    throw new ShapeError(
      `${what}: the inner sizes ${innerA} and ${innerB} differ: ${a.describe()}${options.transA ? ' transposed' : ''} times ${b.describe()}${options.transB ? ' transposed' : ''}`,
    );
  }
  return [m!, n!] as const;
}

/**
 * Matrix product over the last two axes: y = alpha · op(a) op(b).
 *
 * @param a float[…, M, K], or [K, M] with `transA`
 * @param b float[…, K, N], or [N, K] with `transB`; of the same rank as a; leading axes broadcast
 * @returns float[…, M, N]
 * @throws ShapeError if ranks, inner sizes or dtypes differ, or the leading axes do not broadcast.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  if (a.rank < 2 || a.rank !== b.rank) {
    throw new ShapeError(`matmul: ${a.describe()} and ${b.describe()} must have the same rank, at least 2`, {
      help: 'use linear() to multiply a tensor of any rank with a matrix',
    });
  }
  const [m, n] = checkInner('matmul', a, b, options);
  const batch = broadcastShapes('matmul', a, b, a.shape.slice(0, -2), b.shape.slice(0, -2));
  const attributes = {
    transA: options.transA ?? false,
    transB: options.transB ?? false,
    alpha: options.alpha ?? 1,
  };
  return a.graph.add('MatMul', [a, b], attributes, [{ dtype: a.dtype, shape: [...batch, m, n] }])[0]!;
}

/**
 * Matrix product with a bias added to each row: y = op(a) op(b) + bias.
 *
 * @param a float[M, K], or [K, M] with `transA`
 * @param b float[K, N], or [N, K] with `transB`
 * @param bias float[N]
 * @returns float[M, N]
 * @throws ShapeError if ranks, sizes or dtypes do not match.
 */
export function gemm(a: Tensor, b: Tensor, bias: Tensor, options: Omit<MatmulOptions, 'alpha'> = {}): Tensor {
  if (a.rank !== 2 || b.rank !== 2) {
    throw new ShapeError(`gemm: ${a.describe()} and ${b.describe()} must both have rank 2`);
  }
  const [m, n] = checkInner('gemm', a, b, options);
  if (bias.rank !== 1 || !sameDim(bias.shape[0]!, n)) {
    throw new ShapeError(`gemm: the bias ${bias.describe()} must have shape [${n}]`);
  }
  requireSameDType('gemm', a, bias);
  const attributes = { transA: options.transA ?? false, transB: options.transB ?? false };
  return a.graph.add('Gemm', [a, b, bias], attributes, [{ dtype: a.dtype, shape: [m, n] }])[0]!;
}
