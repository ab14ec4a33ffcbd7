import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType } from '../onnx/dtypes.ts';
import type { HostTensor } from './host-tensor.ts';

/** Names of element types in onnxruntime. */
export const ORT_TYPES: Record<DType, OrtTensor.Type> = {
  f32: 'float32',
  f64: 'float64',
  f16: 'float16',
  bf16: 'uint16',
  i8: 'int8',
  u8: 'uint8',
  u16: 'uint16',
  i32: 'int32',
  i64: 'int64',
  u32: 'uint32',
  bool: 'bool',
};

/** Makes an onnxruntime tensor that shares the memory of a tensor. */
export const toOrt = (tensor: HostTensor): OrtTensor =>
  new OrtTensor(ORT_TYPES[tensor.dtype], tensor.data as Float32Array, tensor.dims as number[]);
