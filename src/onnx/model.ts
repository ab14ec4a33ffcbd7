import type { DType } from './dtypes.ts';

/** Constant tensor. */
export interface OnnxTensor {
  /** Name by which nodes read the tensor. */
  name: string;
  /** Element type. */
  dtype: DType;
  /** Shape. */
  dims: readonly number[];
  /** Product of `dims` elements of type `dtype`, row-major and little-endian. */
  data: ArrayBufferView;
}

/**
 * Attribute of a node. Integers have 64 bits in the file; here they are numbers, saturated at the 64-bit
 * limits.
 */
export type OnnxAttribute =
  | { kind: 'int'; value: number }
  | { kind: 'float'; value: number }
  | { kind: 'ints'; value: number[] }
  | { kind: 'floats'; value: number[] }
  | { kind: 'string'; value: string }
  | { kind: 'strings'; value: string[] }
  | { kind: 'tensor'; value: OnnxTensor }
  | { kind: 'graph'; value: OnnxGraph };

/** One operation of a graph. An empty input or output name stands for an omitted optional input or output. */
export interface OnnxNode {
  /** Name of the operator: `'MatMul'`, … */
  opType: string;
  /** Operator set: absent for the standard operators, `'com.microsoft'` for those of onnxruntime. */
  domain?: string;
  /** Name of the node, for messages of onnxruntime. */
  name?: string;
  /** Names of the values that the node reads. */
  inputs: string[];
  /** Names of the values that the node computes. */
  outputs: string[];
  /** Attributes by name. */
  attributes?: Record<string, OnnxAttribute>;
  /** Documentation for people. */
  docString?: string;
}

/** Name, element type and shape of a graph input, output or intermediate value. */
export interface OnnxValue {
  /** Name by which nodes refer to the value. */
  name: string;
  /** Element type. */
  dtype: DType;
  /**
   * Sizes of the dimensions. A string is a named dimension, and `''` is an unknown one. The shape `['...']`
   * (`unknownShape`) means that the number of dimensions is unknown as well.
   */
  shape: readonly (number | string)[];
}

/** Graph output that states its name only. onnxruntime infers its type and shape. */
export interface UntypedValue {
  /** Name of the output. */
  name: string;
  /** Absent, which distinguishes the type from `OnnxValue`. */
  dtype?: undefined;
}

/** Shape of a value whose number of dimensions is unknown. */
export const unknownShape: readonly string[] = ['...'];

/** Computation graph: nodes in topological order, inputs, outputs and constants (initializers). */
export interface OnnxGraph {
  /** Name of the graph. */
  name: string;
  /** Operations, in topological order. */
  nodes: OnnxNode[];
  /** Values that the caller provides. */
  inputs: OnnxValue[];
  /** Values that the graph returns. */
  outputs: (OnnxValue | UntypedValue)[];
  /** Constants, such as weights. */
  initializers: OnnxTensor[];
  /** Types of intermediate values, where they are known. */
  values?: OnnxValue[];
}

/** Whole ONNX file, as plain data. */
export interface OnnxModel {
  /** Version of ONNX's intermediate representation. */
  irVersion: number;
  /** Version of each operator set in use, by domain. The standard operator set is `''` or `'ai.onnx'`. */
  opsets: Record<string, number>;
  /** Name of the program that wrote the file. */
  producerName: string;
  /** Version of the program that wrote the file. */
  producerVersion: string;
  /** Computation graph. */
  graph: OnnxGraph;
  /** Free text by key. */
  metadata?: Record<string, string>;
}
