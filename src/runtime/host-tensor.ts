import { type DType, dtypes, elementCount, type TypedArray } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';

/** Tensor with values in this process's memory, row-major. */
export interface HostTensor {
  /** Element type. */
  readonly dtype: DType;
  /** Shape. */
  readonly dims: readonly number[];
  /** Product of `dims` elements, row-major. */
  readonly data: TypedArray;
}

/**
 * Makes a tensor from an array, without a copy.
 *
 * @throws ShapeError if the array does not have as many elements as `dims`.
 */
export function hostTensor(dtype: DType, dims: readonly number[], data: TypedArray): HostTensor {
  if (elementCount(dims) !== data.length) {
    throw new ShapeError(
      `a ${dtype}[${dims.join(', ')}] tensor needs ${elementCount(dims)} elements, got ${data.length}`,
    );
  }
  return { dtype, dims, data };
}

/** Makes a tensor of zeros. */
export function zeros(dtype: DType, dims: readonly number[]): HostTensor {
  return { dtype, dims, data: new dtypes[dtype].array(elementCount(dims)) };
}

/** Makes an f32 scalar. */
export const scalarTensor = (value: number): HostTensor => ({
  dtype: 'f32',
  dims: [],
  data: Float32Array.of(value),
});

/**
 * Returns the elements of an f32 tensor.
 *
 * @param name name of the tensor, for the error message
 * @throws ShapeError if the tensor is undefined or has another dtype.
 */
export function float32(tensor: HostTensor | undefined, name = 'tensor'): Float32Array {
  if (!(tensor?.data instanceof Float32Array))
    throw new ShapeError(`${name} must be f32, is ${tensor?.dtype}`);
  return tensor.data;
}

/**
 * Returns the value of a tensor with one element.
 *
 * @param name name of the tensor, for the error message
 * @throws ShapeError if the tensor is undefined or has another number of elements.
 */
export function scalarValue(tensor: HostTensor | undefined, name = 'tensor'): number {
  if (tensor?.data.length !== 1)
    throw new ShapeError(`${name} must have one element, has ${tensor?.data.length}`);
  return Number(tensor.data[0]);
}

/**
 * Views i64 numbers as 32-bit words. Number i is word 2 i if it fits into 32 bits, because bytes are little-endian. Reading and
 * writing words is several times faster than one BigInt per number.
 */
export const int32Words = (numbers: BigInt64Array): Int32Array =>
  new Int32Array(numbers.buffer, numbers.byteOffset, 2 * numbers.length);

/** Makes an i64 tensor [n] of whole numbers below 2³¹ in size, without a BigInt for each. */
export function int64Tensor(values: ArrayLike<number>): HostTensor {
  const data = new BigInt64Array(values.length);
  const words = int32Words(data);
  for (let i = 0; i < values.length; i++) {
    words[2 * i] = values[i]!;
    words[2 * i + 1] = values[i]! < 0 ? -1 : 0;
  }
  return hostTensor('i64', [values.length], data);
}
