import { ShapeError } from '../util/errors.ts';

/**
 * Element types of tensors, with their size and their name in each file format.
 *
 * Half-precision numbers are stored as 16 bits in a `Uint16Array` (Node 20 has no `Float16Array`), and
 * booleans as one byte, 0 or 1. Memory is assumed to be little-endian, as on every platform that
 * onnxruntime-node runs on.
 */
export const dtypes = {
  f32: { onnxCode: 1, bytes: 4, array: Float32Array, safetensors: 'F32', npy: '<f4' },
  u8: { onnxCode: 2, bytes: 1, array: Uint8Array, safetensors: 'U8', npy: '|u1' },
  i8: { onnxCode: 3, bytes: 1, array: Int8Array, safetensors: 'I8', npy: '|i1' },
  u16: { onnxCode: 4, bytes: 2, array: Uint16Array, safetensors: 'U16', npy: '<u2' },
  i32: { onnxCode: 6, bytes: 4, array: Int32Array, safetensors: 'I32', npy: '<i4' },
  i64: { onnxCode: 7, bytes: 8, array: BigInt64Array, safetensors: 'I64', npy: '<i8' },
  bool: { onnxCode: 9, bytes: 1, array: Uint8Array, safetensors: 'BOOL', npy: '|b1' },
  f16: { onnxCode: 10, bytes: 2, array: Uint16Array, safetensors: 'F16', npy: '<f2' },
  f64: { onnxCode: 11, bytes: 8, array: Float64Array, safetensors: 'F64', npy: '<f8' },
  u32: { onnxCode: 12, bytes: 4, array: Uint32Array, safetensors: 'U32', npy: '<u4' },
  // NumPy has no bfloat16, so such a tensor cannot be written as .npy.
  bf16: { onnxCode: 16, bytes: 2, array: Uint16Array, safetensors: 'BF16', npy: undefined },
} as const;

/** Name of an element type: `'f32'`, `'i64'`, … */
export type DType = keyof typeof dtypes;

/** Returns whether the elements are floating-point numbers. Only those can have a gradient. */
export const isFloat = (dtype: DType): boolean =>
  dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16';

/** Typed array that holds elements of type `D`. */
export type TypedArrayOf<D extends DType> = InstanceType<(typeof dtypes)[D]['array']>;

/** Union of the typed arrays that can hold tensor elements. */
export type TypedArray = TypedArrayOf<DType>;

type NameField = 'onnxCode' | 'safetensors' | 'npy';

function tableBy<F extends NameField>(field: F): ReadonlyMap<unknown, DType> {
  return new Map((Object.keys(dtypes) as DType[]).map((dtype) => [dtypes[dtype][field], dtype]));
}

/** Element type by its code in ONNX's `TensorProto.DataType`. */
export const dtypeByOnnxCode: ReadonlyMap<unknown, DType> = tableBy('onnxCode');

/** Element type by its name in a safetensors header. */
export const dtypeBySafetensorsName: ReadonlyMap<unknown, DType> = tableBy('safetensors');

/** Number of elements of a shape: the product of its dimensions, which is 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((count, dim) => count * dim, 1);
}

/** Size of a tensor's data, in bytes. */
export function tensorBytes(dtype: DType, dims: readonly number[]): number {
  return elementCount(dims) * dtypes[dtype].bytes;
}

/**
 * Checks that the data has the size that dtype and dims require.
 *
 * @param what name of the tensor, for the error message
 * @throws ShapeError if the sizes differ.
 */
export function checkDataSize(
  what: string,
  { dtype, dims, data }: { dtype: DType; dims: readonly number[]; data: ArrayBufferView },
): void {
  const expected = tensorBytes(dtype, dims);
  if (data.byteLength !== expected) {
    throw new ShapeError(
      `${what} of type ${dtype} and shape [${dims}] needs ${expected} bytes, its data has ${data.byteLength}`,
    );
  }
}

/**
 * Views `elements` elements of type `dtype` that begin at byte `byteOffset` of `bytes`.
 *
 * The result shares memory with `bytes` where the position is aligned for the element type, else it is a
 * copy.
 */
export function viewAs<D extends DType>(
  dtype: D,
  bytes: Uint8Array,
  byteOffset: number,
  elements: number,
): TypedArrayOf<D> {
  const { array, bytes: size } = dtypes[dtype];
  const start = bytes.byteOffset + byteOffset;
  if (start % size === 0) return new array(bytes.buffer as ArrayBuffer, start, elements) as TypedArrayOf<D>;
  // Buffer.slice does not copy, unlike the method of Uint8Array.
  const copy = Uint8Array.prototype.slice.call(bytes, byteOffset, byteOffset + elements * size);
  return new array(copy.buffer, 0, elements) as TypedArrayOf<D>;
}

/** Views the bytes of a typed array, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
