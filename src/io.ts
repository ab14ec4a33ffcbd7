/**
 * Files of arrays: safetensors and npy, read and written as a whole or in part. Loads no native code.
 *
 *     import { readNpy, readSafetensors, writeNpy, writeSafetensors } from 'undrift/io';
 *
 * @module undrift/io
 */
export { type NpyReader, type NpyWriter, openNpy, openNpyWriter, readNpy, writeNpy } from './io/npy.ts';
export {
  openSafetensors,
  readSafetensors,
  type SafetensorsReader,
  writeSafetensors,
} from './io/safetensors.ts';
export type { LoadedTensor, TensorData } from './io/tensor-data.ts';
export type { DType, TypedArray } from './onnx/dtypes.ts';
