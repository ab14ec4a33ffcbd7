import { isFloat } from '../../onnx/dtypes.ts';
import { ShapeError } from '../../util/errors.ts';
import { type Dim, sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Shape of an elementwise result. Axes are matched from the last one, and an axis of size 1 is repeated.
 *
 * @param what name of the operation, for the error message
 * @throws ShapeError if two sizes differ and neither is 1.
 */
export function broadcastShapes(
  what: string,
  a: Tensor,
  b: Tensor,
  shapeA = a.shape,
  shapeB = b.shape,
): Dim[] {
  const rank = Math.max(shapeA.length, shapeB.length);
  return Array.from({ length: rank }, (_, axis) => {
    const dimA = shapeA[axis - rank + shapeA.length] ?? 1;
    const dimB = shapeB[axis - rank + shapeB.length] ?? 1;
    if (sameDim(dimA, dimB) || dimB === 1) return dimA;
    if (dimA === 1) return dimB;
    throw new ShapeError(
      `${what}: ${a.describe()} and ${b.describe()} differ in axis ${axis - rank}: ${dimA} against ${dimB}`,
      { help: 'sizes must be equal, or one of them 1' },
    );
  });
}

/**
 * Converts an axis to its non-negative form. Negative axes count from the end.
 *
 * @param what name of the operation, for the error message
 * @throws ShapeError if `axis` is out of range.
 */
export function resolveAxis(what: string, x: Tensor, axis: number, rank = x.rank): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new ShapeError(`${what}: axis ${axis} is outside ${x.describe()}`, {
      help: `axes run from ${-rank} to ${rank - 1}`,
    });
  }
  return resolved;
}

/**
 * Checks that two tensors have the same dtype.
 *
 * @throws ShapeError if they differ.
 */
export function requireSameDType(what: string, a: Tensor, b: Tensor): void {
  if (a.dtype !== b.dtype) {
    throw new ShapeError(`${what}: ${a.describe()} and ${b.describe()} have different dtypes`, {
      help: 'nothing is promoted silently: cast one of them',
    });
  }
}

/**
 * Checks that a tensor holds floating-point numbers.
 *
 * @throws ShapeError if it does not.
 */
export function requireFloat(what: string, x: Tensor): void {
  if (!isFloat(x.dtype)) {
    throw new ShapeError(`${what}: ${x.describe()} must hold floating-point numbers`);
  }
}

/**
 * Checks that a tensor has the given dtype.
 *
 * @throws ShapeError if it has another one.
 */
export function requireDType(what: string, x: Tensor, dtype: string): void {
  if (x.dtype !== dtype) throw new ShapeError(`${what}: ${x.describe()} must be ${dtype}`);
}
