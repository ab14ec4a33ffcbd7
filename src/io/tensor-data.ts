import type { DType, TypedArray } from '../onnx/dtypes.ts';

/** A tensor to write: `data` holds the product of `dims` elements of `dtype`, row-major. */
export interface TensorData {
  dtype: DType;
  dims: readonly number[];
  data: ArrayBufferView;
}

/** A tensor that was read, in memory of its own. */
export interface LoadedTensor extends TensorData {
  data: TypedArray;
}
