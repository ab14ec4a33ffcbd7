/**
 * Graphs of symbolic tensors, their gradients, and the ONNX files made of them. Loads no native code. To run a graph, use
 * `Program` of `undrift`.
 *
 *     import { backward, Graph, ops, printGraph, toOnnx } from 'undrift/graph';
 *
 * @module undrift/graph
 */
export { backward } from './grad/backward.ts';
export type { Dim } from './graph/dims.ts';
export { Graph } from './graph/graph.ts';
export type { LoweringOptions } from './graph/onnx-writer.ts';
export type { None as NoAttributes, OpAttributes, OpType } from './graph/op-types.ts';
export * as ops from './graph/ops.ts';
export { printGraph } from './graph/print.ts';
export type { GraphNode, Tensor, TensorSource } from './graph/tensor.ts';
export { toOnnx } from './graph/to-onnx.ts';
export { decodeModel } from './onnx/decode.ts';
export type { DType, dtypes, TypedArray, TypedArrayOf } from './onnx/dtypes.ts';
export { encodeModel } from './onnx/encode.ts';
export type {
  OnnxAttribute,
  OnnxGraph,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValue,
  UntypedValue,
} from './onnx/model.ts';
