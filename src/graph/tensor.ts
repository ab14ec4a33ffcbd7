import type { DType } from '../onnx/dtypes.ts';
import { canonicalDim, type Dim, formatShape } from './dims.ts';
import type { Graph } from './graph.ts';
import type { OpAttributes, OpType } from './op-types.ts';

/** One operation of a graph: its inputs, attributes and results. */
export interface GraphNode<K extends OpType = OpType> {
  readonly op: K;
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly attributes: OpAttributes[K];
  readonly outputs: readonly Tensor[];
}

/** Where the value of a tensor comes from. */
export type TensorSource =
  | { readonly kind: 'input' }
  | { readonly kind: 'constant'; readonly data: ArrayBufferView }
  | { readonly kind: 'node'; readonly node: GraphNode; readonly index: number };

/**
 * A symbolic tensor: a dtype, named dimensions and a place in a graph. It owns no memory and holds no value; values exist
 * only while a program runs.
 */
export class Tensor {
  readonly graph: Graph;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /** File and line of the code that made it, for error messages. */
  readonly origin: string;
  /** Set once, by the graph, right after the node that makes it exists. */
  source: TensorSource = { kind: 'input' };

  constructor(graph: Graph, fields: { name: string; dtype: DType; shape: readonly Dim[]; origin: string }) {
    this.graph = graph;
    this.name = fields.name;
    this.dtype = fields.dtype;
    this.shape = fields.shape.map(canonicalDim);
    this.origin = fields.origin;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** The node that makes it; undefined for inputs and constants. */
  get node(): GraphNode | undefined {
    return this.source.kind === 'node' ? this.source.node : undefined;
  }

  /** `encoder/layer.0/matmul_2 f32[batch, tokens, 384]` */
  toString(): string {
    return `${this.name} ${this.dtype}${formatShape(this.shape)}`;
  }

  /** The tensor and where it was made, for error messages. */
  describe(): string {
    return `${this} (made at ${this.origin})`;
  }
}
