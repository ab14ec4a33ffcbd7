import type { DType } from '../onnx/dtypes.ts';
import { canonicalDim, type Dim, formatShape } from './dims.ts';
import type { Graph } from './graph.ts';
import type { OpAttributes, OpType } from './op-types.ts';

/** Operation in a graph, with its inputs, attributes and results. */
export interface GraphNode<K extends OpType = OpType> {
  /** Name of the operation. */
  readonly op: K;
  /** Unique name in the graph, with the scope as prefix. */
  readonly name: string;
  /** Tensors that the operation reads. */
  readonly inputs: readonly Tensor[];
  /** Attributes of the operation. */
  readonly attributes: OpAttributes[K];
  /** Tensors that the operation computes. */
  readonly outputs: readonly Tensor[];
}

/** Origin of a tensor's value: fed at run time, constant, or computed by a node. */
export type TensorSource =
  | { readonly kind: 'input' }
  | { readonly kind: 'constant'; readonly data: ArrayBufferView }
  | { readonly kind: 'node'; readonly node: GraphNode; readonly index: number };

/**
 * Symbolic tensor: a dtype, a shape of possibly named dimensions, and a place in a graph.
 *
 * A tensor owns no memory and holds no value. Values exist only while a program runs.
 */
export class Tensor {
  /** Graph that the tensor belongs to. */
  readonly graph: Graph;
  /** Unique name in the graph, with the scope as prefix. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Dimensions in canonical form. */
  readonly shape: readonly Dim[];
  /** Origin of the value. The graph sets it once, right after it makes the node or constant. */
  source: TensorSource = { kind: 'input' };
  readonly #origin: string | (() => string);

  constructor(
    graph: Graph,
    fields: { name: string; dtype: DType; shape: readonly Dim[]; origin: string | (() => string) },
  ) {
    this.graph = graph;
    this.name = fields.name;
    this.dtype = fields.dtype;
    this.shape = fields.shape.map(canonicalDim);
    this.#origin = fields.origin;
  }

  /** File and line of the code that made the tensor, for error messages. */
  get origin(): string {
    return typeof this.#origin === 'string' ? this.#origin : this.#origin();
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Node that computes the tensor; undefined for inputs and constants. */
  get node(): GraphNode | undefined {
    return this.source.kind === 'node' ? this.source.node : undefined;
  }

  /** Formats name, dtype and shape: `encoder/layer.0/matmul_2 f32[batch, tokens, 384]`. */
  toString(): string {
    return `${this.name} ${this.dtype}${formatShape(this.shape)}`;
  }

  /** Formats the tensor and the place where it was made, for error messages. */
  describe(): string {
    return `${this} (made at ${this.origin})`;
  }
}
