import { type DType, dtypes } from '../onnx/dtypes.ts';
import type { OnnxAttribute, OnnxGraph, OnnxModel, OnnxNode, OnnxTensor, OnnxValue } from '../onnx/model.ts';
import { ShapeError } from '../util/errors.ts';
import { f32ToF16 } from '../util/half.ts';
import { addDims, type Dim, dimTerms, sameDim } from './dims.ts';
import type { Graph } from './graph.ts';
import type { OpAttributes, OpType } from './op-types.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** Operator sets of the written files: the standard one, and onnxruntime's own for `FusedMatMul`. */
const OPSETS = { '': 21, 'com.microsoft': 1 };
const IR_VERSION = 10;

/** What differs between the kernels of onnxruntime's execution providers. */
export interface LoweringOptions {
  /** Whether there is a kernel for onnxruntime's `FusedMatMul`; without one, transposes stand by themselves. Default true. */
  fusedMatMul?: boolean;
  /**
   * Dtype in which f32 matrices are multiplied: their elements are rounded to it, and so are those of the product, which then goes on as
   * f32. Everything between products (softmax, norms, sums, the loss) stays f32. Default `f32`.
   */
  products?: 'f32' | 'f16';
}

/**
 * Writes a graph as an ONNX model: all its inputs, and the nodes that some output needs, in an order in which every value is
 * made before it is used. Names and bytes depend on nothing but the graph.
 */
export function toOnnx(
  graph: Graph,
  metadata: Record<string, string> = {},
  options: LoweringOptions = {},
): OnnxModel {
  if (graph.outputs.size === 0) throw new ShapeError(`graph "${graph.name}" has no outputs`);
  const reached = reachableNodes(graph.outputs.values());
  const writer = new Writer(graph, reached.nodes, options);
  for (const node of executionOrder(reached.nodes)) writer.node(node);
  const outputs = [...graph.outputs].map(([name, tensor]) => {
    const made = writer.value(tensor);
    if (made !== name) writer.emit('Identity', [made], [name]);
    return toValue(name, tensor);
  });
  const onnxGraph: OnnxGraph = {
    name: graph.name,
    nodes: writer.nodes,
    inputs: graph.inputs.map((input) => toValue(input.name, input)),
    outputs,
    initializers: writer.initializers,
  };
  return {
    irVersion: IR_VERSION,
    opsets: OPSETS,
    producerName: 'undrift',
    producerVersion: '',
    graph: onnxGraph,
    metadata,
  };
}

const toValue = (name: string, tensor: Tensor): OnnxValue => ({
  name,
  dtype: tensor.dtype,
  shape: tensor.shape,
});

/** Nodes that the given tensors depend on, in graph order, which is topological. */
function reachableNodes(roots: Iterable<Tensor>): { nodes: GraphNode[]; tensors: Set<Tensor> } {
  const tensors = new Set<Tensor>();
  const wanted = new Set<GraphNode>();
  const stack = [...roots];
  const graph = stack[0]!.graph;
  while (stack.length > 0) {
    const tensor = stack.pop()!;
    if (tensors.has(tensor)) continue;
    tensors.add(tensor);
    const node = tensor.node;
    if (node && !wanted.has(node)) {
      wanted.add(node);
      stack.push(...node.inputs);
    }
  }
  return { nodes: graph.nodes.filter((node) => wanted.has(node)), tensors };
}

/**
 * The order in which onnxruntime should run the nodes, which decides what must be kept in memory. It walks back from the nodes
 * that nothing consumes, the last in the file first. Left in graph order, that is the gradient of the first layer: the whole
 * backward chain would run before any weight gradient, with every intermediate kept for them. So the final nodes go last, in
 * reverse: the gradients that are ready first are then taken first.
 */
function executionOrder(nodes: readonly GraphNode[]): GraphNode[] {
  const consumed = new Set(nodes.flatMap((node) => node.inputs));
  const isFinal = (node: GraphNode) => !node.outputs.some((output) => consumed.has(output));
  return [...nodes.filter((node) => !isFinal(node)), ...nodes.filter(isFinal).reverse()];
}

class Writer {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  private readonly written = new Set<Tensor>();
  /** Results that are outputs carry the output's name, so that they are written where the caller wants them. */
  private readonly names = new Map<Tensor, string>();
  private readonly integers = new Map<string, string>();
  private readonly sizes = new Map<string, string>();
  private readonly numbers = new Set<string>();
  private readonly casts = new Map<string, string>();
  /** Symbol → a written tensor that has it as a plain dimension, and the axis. */
  private readonly symbolSources = new Map<string, { name: string; axis: number }>();

  /** What is multiplied by a constant. */
  private readonly scaled: ReadonlySet<Tensor>;

  readonly options: Required<LoweringOptions>;

  constructor(
    graph: Graph,
    nodes: readonly GraphNode[],
    { fusedMatMul = true, products = 'f32' }: LoweringOptions,
  ) {
    this.options = { fusedMatMul, products };
    for (const input of graph.inputs) this.remember(input);
    const isConstant = ({ rank, source }: Tensor) => rank === 0 && source.kind === 'constant';
    const multiplications = nodes.filter(({ op, inputs }) => op === 'Mul' && inputs.some(isConstant));
    this.scaled = new Set(multiplications.flatMap(({ inputs }) => inputs));
    for (const [name, tensor] of graph.outputs) {
      if (tensor.node && !this.names.has(tensor)) this.names.set(tensor, name);
    }
  }

  name(tensor: Tensor): string {
    return this.names.get(tensor) ?? tensor.name;
  }

  isScaled(tensor: Tensor): boolean {
    return this.scaled.has(tensor);
  }

  private remember(tensor: Tensor): void {
    for (const [axis, dim] of tensor.shape.entries()) {
      if (typeof dim === 'string' && !this.symbolSources.has(dim)) {
        this.symbolSources.set(dim, { name: this.name(tensor), axis });
      }
    }
  }

  /** The ONNX name of a tensor; constants are written at their first use. */
  value(tensor: Tensor): string {
    if (tensor.source.kind === 'constant' && !this.written.has(tensor)) {
      this.written.add(tensor);
      this.initializers.push({
        name: tensor.name,
        dtype: tensor.dtype,
        dims: tensor.shape as number[],
        data: tensor.source.data,
      });
    }
    return this.name(tensor);
  }

  emit(
    opType: string,
    inputs: string[],
    outputs: string[],
    attributes: Record<string, OnnxAttribute> = {},
    domain = '',
  ): void {
    this.nodes.push({
      opType,
      inputs,
      outputs,
      attributes,
      name: outputs[0]!,
      ...(domain ? { domain } : {}),
    });
  }

  node(node: GraphNode): void {
    const inputs = node.inputs.map((input) => this.value(input));
    const outputs = node.outputs.map((output) => this.name(output));
    const lower = LOWERING[node.op] as Lowering<unknown>;
    lower({ writer: this, node, inputs, outputs, attributes: node.attributes });
    for (const output of node.outputs) this.remember(output);
  }

  /** Name of a constant i64 list. */
  ints(values: readonly number[]): string {
    const key = values.join(',');
    let name = this.integers.get(key);
    if (!name) {
      name = `ints/${this.integers.size}`;
      this.integers.set(key, name);
      this.initializers.push({
        name,
        dtype: 'i64',
        dims: [values.length],
        data: BigInt64Array.from(values, BigInt),
      });
    }
    return name;
  }

  /** Name of a value cast to another dtype; once for all who read it. */
  cast(name: string, to: DType): string {
    const key = `${name}/${to}`;
    const known = this.casts.get(key);
    if (known) return known;
    const made = `${key}/cast`;
    this.emit('Cast', [name], [made], { to: int(dtypes[to].onnxCode) });
    this.casts.set(key, made);
    return made;
  }

  /** Name of a constant f32 or f16 scalar. */
  number(value: number, dtype: DType): string {
    const name = `number/${dtype}/${value}`;
    if (!this.numbers.has(name)) {
      this.numbers.add(name);
      const single = Float32Array.of(value);
      const data = dtype === 'f16' ? f32ToF16(single) : single;
      this.initializers.push({ name, dtype, dims: [], data });
    }
    return name;
  }

  /** Name of an i64[1] that holds a dimension's size at run time. */
  size(dim: Dim): string {
    if (typeof dim === 'number') return this.ints([dim]);
    const known = this.sizes.get(dim);
    if (known) return known;
    const name = `size/${dim}`;
    const source = this.symbolSources.get(dim);
    if (source) {
      this.emit('Shape', [source.name], [name], { start: int(source.axis), end: int(source.axis + 1) });
    } else {
      this.polynomial(dim, name);
    }
    this.sizes.set(dim, name);
    return name;
  }

  private polynomial(dim: string, name: string): void {
    const terms = dimTerms(dim);
    if (terms.length === 1 && terms[0]!.symbols.length === 1 && terms[0]!.coefficient === 1) {
      throw new ShapeError(
        `no tensor has the dimension "${dim}" by itself, so its size is unknown at run time`,
        {
          help: `declare an input with "${dim}" as one of its dimensions`,
        },
      );
    }
    let total: string | undefined;
    for (const [t, { coefficient, symbols }] of terms.entries()) {
      let product = this.ints([coefficient]);
      for (const [s, symbol] of symbols.entries()) {
        const next = `${name}/${t}.${s}`;
        this.emit('Mul', [product, this.size(symbol)], [next]);
        product = next;
      }
      if (total === undefined) total = product;
      else {
        const next = t === terms.length - 1 ? name : `${name}/sum.${t}`;
        this.emit('Add', [total, product], [next]);
        total = next;
      }
    }
    if (total !== name) this.emit('Identity', [total!], [name]);
  }

  /** Name of an i64[rank] that holds a shape at run time. */
  shape(shape: readonly Dim[]): string {
    if (shape.every((dim) => typeof dim === 'number')) return this.ints(shape as number[]);
    const key = `shape/${shape.join(',')}`;
    const known = this.sizes.get(key);
    if (known) return known;
    this.emit(
      'Concat',
      shape.map((dim) => this.size(dim)),
      [key],
      { axis: int(0) },
    );
    this.sizes.set(key, key);
    return key;
  }
}

const int = (value: number): OnnxAttribute => ({ kind: 'int', value });
const float = (value: number): OnnxAttribute => ({ kind: 'float', value });
const ints = (value: number[]): OnnxAttribute => ({ kind: 'ints', value });
const flag = (value: boolean): OnnxAttribute => int(value ? 1 : 0);

type Lowering<Attributes> = (context: {
  writer: Writer;
  node: GraphNode;
  inputs: string[];
  outputs: string[];
  attributes: Attributes;
}) => void;

/** One ONNX operator of the same inputs and outputs, without attributes. */
const same =
  (opType: string): Lowering<unknown> =>
  ({ writer, inputs, outputs }) =>
    writer.emit(opType, inputs, outputs);

const reduction =
  (opType: string): Lowering<OpAttributes['ReduceSum']> =>
  ({ writer, inputs, outputs, attributes }) => {
    if (attributes.axes.length === 0) writer.emit('Identity', inputs, outputs);
    else
      writer.emit(opType, [inputs[0]!, writer.ints(attributes.axes)], outputs, {
        keepdims: flag(attributes.keepDims),
      });
  };

const alongAxis =
  (opType: string): Lowering<{ axis: number }> =>
  ({ writer, inputs, outputs, attributes }) =>
    writer.emit(opType, inputs, outputs, { axis: int(attributes.axis) });

const LOWERING: { [K in OpType]: Lowering<OpAttributes[K]> } = {
  Neg: same('Neg'),
  Abs: same('Abs'),
  Sign: same('Sign'),
  Exp: same('Exp'),
  Log: same('Log'),
  Sqrt: same('Sqrt'),
  Reciprocal: same('Reciprocal'),
  Sin: same('Sin'),
  Cos: same('Cos'),
  Tanh: same('Tanh'),
  Sigmoid: same('Sigmoid'),
  Softplus: same('Softplus'),
  Relu: same('Relu'),
  Erf: same('Erf'),
  Gelu: same('Gelu'),
  Floor: same('Floor'),
  Not: same('Not'),
  IsNaN: same('IsNaN'),
  StopGradient: same('Identity'),
  Cast: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('Cast', inputs, outputs, { to: int(dtypes[attributes.to].onnxCode) }),

  Add: same('Add'),
  Sub: same('Sub'),
  Mul: same('Mul'),
  Div: same('Div'),
  Pow: same('Pow'),
  Max: same('Max'),
  Min: same('Min'),
  Equal: same('Equal'),
  Less: same('Less'),
  LessOrEqual: same('LessOrEqual'),
  Greater: same('Greater'),
  GreaterOrEqual: same('GreaterOrEqual'),
  And: same('And'),
  Or: same('Or'),
  BitwiseXor: same('BitwiseXor'),
  ShiftRight: ({ writer, inputs, outputs }) =>
    writer.emit('BitShift', inputs, outputs, { direction: { kind: 'string', value: 'RIGHT' } }),
  Where: same('Where'),

  // A product of matrices is a Gemm. One that is multiplied by a constant is not: onnxruntime takes the constant into the alpha
  // of FusedMatMul, but not of Gemm, and so spares a pass over the result.
  MatMul: inProductType(({ writer, node, inputs, outputs, attributes: { transA, transB, alpha } }) => {
    const attributes = { transA: flag(transA), transB: flag(transB), alpha: float(alpha) };
    const { fusedMatMul } = writer.options;
    if (node.inputs[0]!.rank === 2 && !(fusedMatMul && writer.isScaled(node.outputs[0]!))) {
      writer.emit('Gemm', inputs, outputs, attributes);
    } else if (!transA && !transB && alpha === 1) {
      writer.emit('MatMul', inputs, outputs);
    } else if (fusedMatMul) {
      writer.emit('FusedMatMul', inputs, outputs, attributes, 'com.microsoft');
    } else {
      unfusedMatMul({ writer, node, inputs, outputs, attributes: { transA, transB, alpha } });
    }
  }),
  Gemm: inProductType(({ writer, inputs, outputs, attributes }) =>
    writer.emit('Gemm', inputs, outputs, {
      transA: flag(attributes.transA),
      transB: flag(attributes.transB),
    }),
  ),

  ReduceSum: reduction('ReduceSum'),
  ReduceMean: reduction('ReduceMean'),
  ReduceMax: reduction('ReduceMax'),
  ReduceMin: reduction('ReduceMin'),
  ReduceLogSumExp: reduction('ReduceLogSumExp'),
  Softmax: alongAxis('Softmax'),
  LogSoftmax: alongAxis('LogSoftmax'),
  LayerNormalization: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('LayerNormalization', inputs, outputs, { axis: int(-1), epsilon: float(attributes.epsilon) }),

  Reshape: ({ writer, node, inputs, outputs, attributes: { shape } }) => {
    const fixed = reshapeOperand(node.inputs[0]!, shape);
    if (fixed) writer.emit('Reshape', [inputs[0]!, writer.ints(fixed)], outputs);
    else writer.emit('Reshape', [inputs[0]!, writer.shape(shape)], outputs, { allowzero: int(1) });
  },
  Transpose: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('Transpose', inputs, outputs, { perm: ints(attributes.perm) }),
  Concat: alongAxis('Concat'),
  Slice: ({ writer, inputs, outputs, attributes: { axis, start, length } }) => {
    const end = writer.size(addDims(start, length));
    writer.emit('Slice', [inputs[0]!, writer.size(start), end, writer.ints([axis])], outputs);
  },
  Split: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('Split', [inputs[0]!, writer.shape(attributes.sizes)], outputs, {
      axis: int(attributes.axis),
    }),
  Expand: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('Expand', [inputs[0]!, writer.shape(attributes.shape)], outputs),
  Fill: ({ writer, node, outputs, attributes }) =>
    writer.emit('ConstantOfShape', [writer.shape(attributes.shape)], outputs, {
      value: {
        kind: 'tensor',
        value: { name: '', dtype: attributes.dtype, dims: [1], data: fillData(node, attributes) },
      },
    }),
  Range: ({ writer, outputs, attributes }) => {
    const name = outputs[0]!;
    writer.emit('Squeeze', [writer.size(attributes.length)], [`${name}/limit`]);
    writer.emit('Squeeze', [writer.ints([0])], [`${name}/start`]);
    writer.emit('Squeeze', [writer.ints([1])], [`${name}/delta`]);
    writer.emit('Range', [`${name}/start`, `${name}/limit`, `${name}/delta`], outputs);
  },
  DimSize: ({ writer, outputs, attributes }) => {
    const name = outputs[0]!;
    writer.emit('Squeeze', [writer.size(attributes.dim)], [`${name}/size`]);
    writer.emit('Cast', [`${name}/size`], outputs, { to: int(dtypes[attributes.dtype].onnxCode) });
  },

  Gather: alongAxis('Gather'),
  TakeRows: ({ writer, inputs, outputs }) =>
    writer.emit('Gather', inputs.slice(0, 2), outputs, { axis: int(0) }),
  GatherElements: alongAxis('GatherElements'),
  // Not ScatterND: onnxruntime's CPU kernel adds repeated indices from several threads at once and loses updates.
  ScatterAdd: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('ScatterElements', inputs, outputs, {
      axis: int(attributes.axis),
      reduction: { kind: 'string', value: 'add' },
    }),
  Scatter: alongAxis('ScatterElements'),
  TopK: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('TopK', [inputs[0]!, writer.size(attributes.k)], outputs, {
      axis: int(attributes.axis),
      largest: flag(attributes.largest),
      sorted: int(1),
    }),
  ArgMax: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('ArgMax', inputs, outputs, {
      axis: int(attributes.axis),
      keepdims: flag(attributes.keepDims),
    }),
};

/** A product of f32 matrices in the dtype that the options ask for: operands are cast on the way in, the product on the way out. */
function inProductType<Attributes>(lower: Lowering<Attributes>): Lowering<Attributes> {
  return (context) => {
    const { writer, node, inputs, outputs } = context;
    const { products } = writer.options;
    const [result] = outputs as [string];
    if (products === 'f32' || node.outputs[0]!.dtype !== 'f32') {
      lower(context);
      return;
    }
    const operands = inputs.map((input) => writer.cast(input, products));
    lower({ ...context, inputs: operands, outputs: [`${result}/${products}`] });
    writer.emit('Cast', [`${result}/${products}`], outputs, { to: int(dtypes.f32.onnxCode) });
  };
}

/** A product of transposed batches of matrices, times a number, in standard operators. */
const unfusedMatMul: Lowering<OpAttributes['MatMul']> = ({ writer, node, inputs, outputs, attributes }) => {
  const { transA, transB, alpha } = attributes;
  const [result] = outputs as [string];
  const operands = [transA, transB].map((transposed, i) => {
    if (!transposed) return inputs[i]!;
    const axes = node.inputs[i]!.shape.map((_, axis) => axis);
    const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
    const name = `${result}/${'ab'[i]}`;
    writer.emit('Transpose', [inputs[i]!], [name], { perm: ints(perm) });
    return name;
  });
  if (alpha === 1) {
    writer.emit('MatMul', operands, outputs);
    return;
  }
  writer.emit('MatMul', operands, [`${result}/product`]);
  const { dtype } = node.outputs[0]!;
  const factor = writer.number(alpha, dtype === 'f32' ? writer.options.products : dtype);
  writer.emit('Mul', [`${result}/product`, factor], outputs);
};

function fillData(node: GraphNode, { value, dtype }: OpAttributes['Fill']): ArrayBufferView {
  if (dtype === 'i64') return BigInt64Array.of(BigInt(value));
  if (dtype === 'f16' || dtype === 'bf16') {
    throw new ShapeError(`${node.name}: fill a f32 tensor and cast it to ${dtype}`);
  }
  const data = new dtypes[dtype].array(1);
  data[0] = value as never;
  return data;
}

/**
 * Reshape's operand as constants where they say it all: 0 copies the input's size at that place, one −1 is inferred.
 * Undefined where sizes must be read at run time, also for −1 beside 0: with an empty batch that would be ambiguous.
 */
function reshapeOperand(x: Tensor, shape: readonly Dim[]): number[] | undefined {
  const operand = shape.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    return x.shape[axis] !== undefined && sameDim(x.shape[axis], dim) ? 0 : -1;
  });
  const inferred = operand.filter((size) => size === -1).length;
  const ambiguous = inferred > 1 || (inferred === 1 && operand.includes(0)) || shape.includes(0);
  return ambiguous ? undefined : operand;
}
