import { type DType, dtypes, elementCount, type TypedArray } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';

/** A tensor with values, in this process's memory, row-major. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TypedArray;
}

/** Wraps an array as a tensor, and checks that the number of elements fits. */
export function hostTensor(dtype: DType, dims: readonly number[], data: TypedArray): HostTensor {
  if (elementCount(dims) !== data.length) {
    throw new ShapeError(
      `a ${dtype}[${dims.join(', ')}] tensor needs ${elementCount(dims)} elements, got ${data.length}`,
    );
  }
  return { dtype, dims, data };
}

/** A tensor of zeros. */
export function zeros(dtype: DType, dims: readonly number[]): HostTensor {
  return { dtype, dims, data: new dtypes[dtype].array(elementCount(dims)) };
}

/** A scalar f32. */
export const scalarTensor = (value: number): HostTensor => ({
  dtype: 'f32',
  dims: [],
  data: Float32Array.of(value),
});

/** The elements as Float32Array; fails for another dtype. */
export function float32(tensor: HostTensor | undefined, name = 'tensor'): Float32Array {
  if (!(tensor?.data instanceof Float32Array))
    throw new ShapeError(`${name} must be f32, is ${tensor?.dtype}`);
  return tensor.data;
}

/** The value of a tensor of one element. */
export function scalarValue(tensor: HostTensor | undefined, name = 'tensor'): number {
  if (tensor?.data.length !== 1)
    throw new ShapeError(`${name} must have one element, has ${tensor?.data.length}`);
  return Number(tensor.data[0]);
}
