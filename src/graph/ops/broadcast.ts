import { isFloat } from '../../onnx/dtypes.ts';
import { ShapeError } from '../../util/errors.ts';
import { type Dim, sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';

/** The shape of an elementwise result: axes are matched from the last; a size of 1 stretches. */
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

/** A non-negative axis; negative ones count from the end. */
export function resolveAxis(what: string, x: Tensor, axis: number, rank = x.rank): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new ShapeError(`${what}: axis ${axis} is outside ${x.describe()}`, {
      help: `axes run from ${-rank} to ${rank - 1}`,
    });
  }
  return resolved;
}

export function requireSameDType(what: string, a: Tensor, b: Tensor): void {
  if (a.dtype !== b.dtype) {
    throw new ShapeError(`${what}: ${a.describe()} and ${b.describe()} have different dtypes`, {
      help: 'nothing is promoted silently: cast one of them',
    });
  }
}

export function requireFloat(what: string, x: Tensor): void {
  if (!isFloat(x.dtype)) {
    throw new ShapeError(`${what}: ${x.describe()} must hold floating-point numbers`);
  }
}

export function requireDType(what: string, x: Tensor, dtype: string): void {
  if (x.dtype !== dtype) throw new ShapeError(`${what}: ${x.describe()} must be ${dtype}`);
}
