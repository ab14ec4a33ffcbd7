import type { DType, TypedArray } from '../onnx/dtypes.ts';

/** Tensor to be written to a file. */
export interface TensorData {
  /** Element type. */
  dtype: DType;
  /** Shape. */
  dims: readonly number[];
  /** Product of `dims` elements of type `dtype`, row-major. */
  data: ArrayBufferView;
}

/** Tensor that was read from a file, in its own memory. */
export interface LoadedTensor extends TensorData {
  /** Elements, row-major. */
  data: TypedArray;
}
