import { basename } from 'node:path';
import { type DType, dtypes } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';
import type { Dim } from './dims.ts';
import type { OpAttributes, OpType } from './op-types.ts';
import { type GraphNode, Tensor } from './tensor.ts';

/** Operations of a graph whose values the gradient may compute again, in their order. */
export interface NodeSegment {
  readonly nodes: GraphNode[];
}

/**
 * Computation under construction: its inputs, constants and operations, in the order they were added.
 *
 * Differentiation adds nodes to the same graph. Nodes are never removed; those that no output needs are left
 * out when the graph is converted to ONNX.
 */
export class Graph {
  /** Name of the graph, for error messages and the ONNX file. */
  readonly name: string;
  /** Inputs, in the order of their declaration. */
  readonly inputs: Tensor[] = [];
  /** Operations in the order they were added, which is a topological order. */
  readonly nodes: GraphNode[] = [];
  /** Outputs by name. */
  readonly outputs = new Map<string, Tensor>();
  /** NodeSegment of each node whose values the gradient always computes again; see `recomputed`. */
  readonly recomputedSegments = new Map<GraphNode, NodeSegment>();
  /** Layer of each node; see `layer`. */
  readonly layerSegments = new Map<GraphNode, NodeSegment>();
  private readonly open = new Map<Map<GraphNode, NodeSegment>, NodeSegment>();
  private scopePath = '';
  private readonly nameCounts = new Map<string, number>();
  private readonly constants = new Map<string, Tensor>();
  private readonly constantNames = new Set<string>();

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Declares an input: a tensor that is fed at every run.
   *
   * @param name name inside the current scope
   * @throws ShapeError if an input of this name exists.
   */
  input(name: string, dtype: DType, shape: readonly Dim[]): Tensor {
    const path = this.scopePath + name;
    if (this.inputs.some((t) => t.name === path)) {
      throw new ShapeError(`${this.name}: input "${path}" exists already`);
    }
    const tensor = new Tensor(this, { name: path, dtype, shape, origin: callerOrigin() });
    this.inputs.push(tensor);
    return tensor;
  }

  /**
   * Declares an output of the program.
   *
   * @param name name of the output, not prefixed by the scope
   * @throws ShapeError if the name is taken, or the tensor belongs to another graph.
   */
  output(name: string, tensor: Tensor): void {
    this.adopt(tensor);
    if (this.outputs.has(name) || this.inputs.some((t) => t.name === name)) {
      throw new ShapeError(`${this.name}: an input or output "${name}" exists already`);
    }
    this.outputs.set(name, tensor);
  }

  /**
   * Adds a constant tensor.
   *
   * Constants should be small, because weights are normally inputs. Only an exported model holds its weights
   * as constants, each under its own `name`.
   *
   * @param name name of the constant, not prefixed by the scope; default: a unique name inside the scope
   * @throws ShapeError if the name is taken.
   */
  constant(dtype: DType, shape: readonly number[], data: ArrayBufferView, name?: string): Tensor {
    if (name === undefined) return this.constant(dtype, shape, data, this.uniqueName('constant'));
    if (this.constantNames.has(name) || this.inputs.some((input) => input.name === name)) {
      throw new ShapeError(`${this.name}: a constant or input "${name}" exists already`);
    }
    this.constantNames.add(name);
    const tensor = new Tensor(this, { name, dtype, shape, origin: callerOrigin() });
    tensor.source = { kind: 'constant', data };
    return tensor;
  }

  /**
   * Returns a constant scalar, shared by all its uses.
   *
   * @throws ShapeError for f16 and bf16, which must be cast from f32.
   */
  scalar(value: number, dtype: DType = 'f32'): Tensor {
    const key = `${dtype}:${Object.is(value, -0) ? '-0' : value}`;
    let tensor = this.constants.get(key);
    if (!tensor) {
      tensor = this.constant(dtype, [], scalarData(value, dtype));
      this.constants.set(key, tensor);
    }
    return tensor;
  }

  /** Calls `build` and prefixes the names of everything made inside with `name/`. Scopes nest. */
  scope<R>(name: string, build: () => R): R {
    const outer = this.scopePath;
    this.scopePath = `${outer}${name}/`;
    try {
      return build();
    } finally {
      this.scopePath = outer;
    }
  }

  /**
   * Calls `build` and marks the operations made inside as a segment whose values the gradient computes again, so that they are not kept until
   * then: for operations that take little time and much memory, such as the softmax of attention. A segment inside a segment is part of it.
   */
  recomputed<R>(build: () => R): R {
    return this.inSegment(this.recomputedSegments, build);
  }

  /**
   * Calls `build` in a scope of the name, and marks the operations made inside as a layer: a segment whose values the gradient computes again
   * where `backward` is told to (gradient checkpointing).
   *
   * @paper Chen et al. 2016: "Training Deep Nets with Sublinear Memory Cost"
   */
  layer<R>(name: string, build: () => R): R {
    return this.inSegment(this.layerSegments, () => this.scope(name, build));
  }

  private inSegment<R>(segments: Map<GraphNode, NodeSegment>, build: () => R): R {
    if (this.open.has(segments)) return build();
    this.open.set(segments, { nodes: [] });
    try {
      return build();
    } finally {
      this.open.delete(segments);
    }
  }

  /**
   * Adds one operation and returns its results. The functions of `ops.ts` call this after checking and
   * inferring shapes.
   *
   * @throws ShapeError if an input belongs to another graph.
   */
  add<K extends OpType>(
    op: K,
    inputs: readonly Tensor[],
    attributes: OpAttributes[K],
    results: readonly { dtype: DType; shape: readonly Dim[] }[],
  ): Tensor[] {
    for (const input of inputs) this.adopt(input);
    const name = this.uniqueName(op.toLowerCase());
    const origin = callerOrigin();
    const outputs = results.map(
      ({ dtype, shape }, index) =>
        new Tensor(this, { name: index === 0 ? name : `${name}:${index}`, dtype, shape, origin }),
    );
    const node: GraphNode<K> = { op, name, inputs, attributes, outputs };
    for (const [index, output] of outputs.entries()) output.source = { kind: 'node', node, index };
    this.nodes.push(node);
    for (const [segments, segment] of this.open) {
      segment.nodes.push(node);
      segments.set(node, segment);
    }
    return outputs;
  }

  private adopt(tensor: Tensor): void {
    if (tensor.graph !== this) {
      throw new ShapeError(
        `${tensor.describe()} belongs to graph "${tensor.graph.name}", not to "${this.name}"`,
        {
          help: 'a graph is closed: feed the value as an input instead',
        },
      );
    }
  }

  private uniqueName(base: string): string {
    const path = this.scopePath + base;
    const count = this.nameCounts.get(path) ?? 0;
    this.nameCounts.set(path, count + 1);
    return count === 0 ? path : `${path}_${count}`;
  }
}

function scalarData(value: number, dtype: DType): ArrayBufferView {
  if (dtype === 'i64') return BigInt64Array.of(BigInt(value));
  if (dtype === 'f16' || dtype === 'bf16') {
    throw new ShapeError(`a ${dtype} constant is written as f32 and cast`, {
      help: 'use cast(graph.scalar(x), …)',
    });
  }
  const data = new dtypes[dtype].array(1) as Float32Array;
  data[0] = value;
  return data;
}

/** Files that make tensors on behalf of a caller. Error messages name the caller instead. */
const INTERNAL = /[\\/](src|dist)[\\/](graph|grad)[\\/](ops[\\/])?[^\\/]+(?<!\.test)\.(ts|js):/;

/** Returns a function that finds file and line of the caller. Only error messages ask for them: a stack as text costs more than a node. */
function callerOrigin(): () => string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 12;
  const place = new Error();
  Error.stackTraceLimit = limit;
  return () => {
    const lines = place.stack?.split('\n').slice(2) ?? [];
    const outside = lines.find((line) => !INTERNAL.test(line)) ?? lines[0] ?? '';
    const match = /\(?([^()\s]+):(\d+):\d+\)?$/.exec(outside);
    return match ? `${basename(match[1]!)}:${match[2]}` : 'unknown';
  };
}
