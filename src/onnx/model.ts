import type { DType } from './dtypes.ts';

/**
 * Constant tensor. `data` holds the product of `dims` elements of type `dtype`, row-major and little-endian.
 */
export interface OnnxTensor {
  name: string;
  dtype: DType;
  dims: readonly number[];
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
  opType: string;
  /** Operator set: absent for the standard operators, `'com.microsoft'` for those of onnxruntime. */
  domain?: string;
  name?: string;
  inputs: string[];
  outputs: string[];
  attributes?: Record<string, OnnxAttribute>;
  docString?: string;
}

/**
 * Name, element type and shape of a graph input, output or intermediate value.
 *
 * A string in `shape` is a named dimension, and `''` is an unknown dimension. The shape `['...']`
 * (`unknownShape`) means that the number of dimensions is unknown as well.
 */
export interface OnnxValue {
  name: string;
  dtype: DType;
  shape: readonly (number | string)[];
}

/** Graph output that states its name only. onnxruntime infers its type and shape. */
export interface UntypedValue {
  name: string;
  dtype?: undefined;
}

/** Shape of a value whose number of dimensions is unknown. */
export const unknownShape: readonly string[] = ['...'];

/** Computation graph: nodes in topological order, inputs, outputs and constants (initializers). */
export interface OnnxGraph {
  name: string;
  nodes: OnnxNode[];
  inputs: OnnxValue[];
  outputs: (OnnxValue | UntypedValue)[];
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
  producerName: string;
  producerVersion: string;
  graph: OnnxGraph;
  metadata?: Record<string, string>;
}
