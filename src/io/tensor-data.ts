import type { DType, TypedArray } from '../onnx/dtypes.ts';

/** Tensor to be written. `data` holds the product of `dims` elements of type `dtype`, row-major. */
export interface TensorData {
  dtype: DType;
  dims: readonly number[];
  data: ArrayBufferView;
}

/** Tensor that was read from a file, in its own memory. */
export interface LoadedTensor extends TensorData {
  data: TypedArray;
}
