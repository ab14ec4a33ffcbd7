import { ShapeError } from '../util/errors.ts';

/**
 * The element types that tensors have in this project, with their names in every format that we read or write.
 *
 * Half-precision numbers travel as their 16 bits, in a `Uint16Array` (Node 20 has no `Float16Array`); booleans as
 * one byte, 0 or 1. Bytes in memory are taken to be little-endian, as on every platform that onnxruntime-node runs on.
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
  // NumPy has no bfloat16, so such a tensor has no .npy form.
  bf16: { onnxCode: 16, bytes: 2, array: Uint16Array, safetensors: 'BF16', npy: undefined },
} as const;

/** Name of an element type: `'f32'`, `'i64'`, … */
export type DType = keyof typeof dtypes;

/** Whether elements are floating-point numbers, so that a gradient can exist. */
export const isFloat = (dtype: DType): boolean =>
  dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16';

/** The typed array that holds elements of type `D`. */
export type TypedArrayOf<D extends DType> = InstanceType<(typeof dtypes)[D]['array']>;

/** Any typed array that holds tensor elements. */
export type TypedArray = TypedArrayOf<DType>;

type NameField = 'onnxCode' | 'safetensors' | 'npy';

function tableBy<F extends NameField>(field: F): ReadonlyMap<unknown, DType> {
  return new Map((Object.keys(dtypes) as DType[]).map((dtype) => [dtypes[dtype][field], dtype]));
}

/** Element type by its code in ONNX's `TensorProto.DataType`. */
export const dtypeByOnnxCode: ReadonlyMap<unknown, DType> = tableBy('onnxCode');

/** Element type by its name in a safetensors header. */
export const dtypeBySafetensorsName: ReadonlyMap<unknown, DType> = tableBy('safetensors');

/** Number of elements of a shape: the product of its dimensions, 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((count, dim) => count * dim, 1);
}

/** Bytes of a tensor's data. */
export function tensorBytes(dtype: DType, dims: readonly number[]): number {
  return elementCount(dims) * dtypes[dtype].bytes;
}

/** @throws ShapeError if the data does not have the size that dtype and dims say. */
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
 * Views `elements` elements of type `dtype` that start at `byteOffset` of `bytes`: without a copy where the place is
 * aligned for the element type, else as a copy.
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
  // Not bytes.slice: that of a Buffer does not copy.
  const copy = Uint8Array.prototype.slice.call(bytes, byteOffset, byteOffset + elements * size);
  return new array(copy.buffer, 0, elements) as TypedArrayOf<D>;
}

/** The bytes of a typed array, as a view of the same memory. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
