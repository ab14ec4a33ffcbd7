import type { DType } from './dtypes.ts';

/** A constant tensor: `data` holds the product of `dims` elements of `dtype`, row-major, little-endian. */
export interface OnnxTensor {
  name: string;
  dtype: DType;
  dims: readonly number[];
  data: ArrayBufferView;
}

/** An attribute of a node. Integers are 64-bit in the file; ours are numbers, saturated at the 64-bit limits. */
export type OnnxAttribute =
  | { kind: 'int'; value: number }
  | { kind: 'float'; value: number }
  | { kind: 'ints'; value: number[] }
  | { kind: 'floats'; value: number[] }
  | { kind: 'string'; value: string }
  | { kind: 'strings'; value: string[] }
  | { kind: 'tensor'; value: OnnxTensor }
  | { kind: 'graph'; value: OnnxGraph };

/** One operation. An empty input or output name stands for an optional one that is left out. */
export interface OnnxNode {
  opType: string;
  /** Operator set: absent for the standard operators, `'com.microsoft'` for onnxruntime's own. */
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
 * A string in `shape` is a named dimension, `''` one of which nothing is known; the shape `['...']` (`unknownShape`)
 * says that not even the number of dimensions is known.
 */
export interface OnnxValue {
  name: string;
  dtype: DType;
  shape: readonly (number | string)[];
}

/** An output that states its name alone: onnxruntime infers its type and shape. */
export interface UntypedValue {
  name: string;
  dtype?: undefined;
}

/** The shape of a value whose number of dimensions is not known. */
export const unknownShape: readonly string[] = ['...'];

/** Nodes in topological order, the values that enter and leave, and the constants. */
export interface OnnxGraph {
  name: string;
  nodes: OnnxNode[];
  inputs: OnnxValue[];
  outputs: (OnnxValue | UntypedValue)[];
  initializers: OnnxTensor[];
  /** Types of intermediate values, where known. */
  values?: OnnxValue[];
}

/** A whole ONNX file as plain data. */
export interface OnnxModel {
  irVersion: number;
  /** Version of each operator set used; the standard one is `''` or `'ai.onnx'`. */
  opsets: Record<string, number>;
  producerName: string;
  producerVersion: string;
  graph: OnnxGraph;
  metadata?: Record<string, string>;
}
