import { type DType, dtypes } from '../onnx/dtypes.ts';
import type { OnnxAttribute, OnnxGraph, OnnxModel, OnnxNode, OnnxTensor, OnnxValue } from '../onnx/model.ts';
import { ShapeError } from '../util/errors.ts';
import { f32ToF16 } from '../util/half.ts';
import { addDims, type Dim, dimTerms, sameDim } from './dims.ts';
import type { Graph } from './graph.ts';
import type { PieceContext, ProductOptions } from './lower-in-pieces.ts';
import { lowerMemoryLogSums } from './lower-memory-log-sums.ts';
import { lowerTokenLogLikelihood } from './lower-token-log-likelihood.ts';
import type { OpAttributes, OpType } from './op-types.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** Operator sets of the written files: the standard one, and onnxruntime's own for `FusedMatMul`. */
const OPSETS = { '': 21, 'com.microsoft': 1 };
const IR_VERSION = 10;

/** Options that adapt the ONNX file to an execution provider of onnxruntime. */
export interface LoweringOptions {
  /**
   * Whether the provider has a kernel for onnxruntime's `FusedMatMul`. Without it, transposes are separate
   * nodes. Default true.
   */
  fusedMatMul?: boolean;
  /** Whether the provider runs `Scan`. Without it, all scores of a language model are computed together. Default true. */
  scan?: boolean;
  /**
   * Dtype in which f32 matrices are multiplied. Default `f32`.
   *
   * With `f16`, the operands and the product are rounded to f16, and the product is then cast back to f32.
   * All other operations (softmax, norms, sums, the loss) stay in f32.
   */
  products?: 'f32' | 'f16';
}

/**
 * Converts a graph to an ONNX model.
 *
 * The model has all inputs of the graph and the nodes that some output needs, in an order in which every
 * value is computed before its use. Names and bytes depend on nothing but the graph, `metadata` and
 * `options`.
 *
 * @param metadata free text by key, stored in the file
 * @throws ShapeError if the graph has no outputs, or the size of a named dimension cannot be read from any
 *   tensor.
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

/** Finds the nodes that the given tensors depend on, in graph order, which is topological. */
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
 * Orders the nodes so that onnxruntime keeps few intermediate values in memory.
 *
 * onnxruntime derives its order of execution by walking back from the nodes that no other node consumes, the
 * last one in the file first. In graph order, the last one is the gradient of the first layer. The whole
 * backward chain would then run before any weight gradient, and all its intermediate values would be kept for
 * the weight gradients. These final nodes are therefore placed at the end, in reverse, so that the gradients
 * that are ready first are computed first.
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
  /**
   * Names of tensors that are outputs. They carry the output's name, so that onnxruntime writes them to the
   * caller's buffer.
   */
  private readonly names = new Map<Tensor, string>();
  private readonly integers = new Map<string, string>();
  private readonly sizes = new Map<string, string>();
  private readonly numbers = new Set<string>();
  private readonly casts = new Map<string, string>();
  /** Map from symbol to a written tensor that has the symbol as a dimension, and its axis. */
  private readonly symbolSources = new Map<string, { name: string; axis: number }>();

  /** Tensors that are multiplied by a constant scalar. */
  private readonly scaled: ReadonlySet<Tensor>;
  /** Tensors that a node reads or that are outputs. */
  private readonly used: ReadonlySet<Tensor>;

  readonly options: Required<LoweringOptions>;

  constructor(
    graph: Graph,
    nodes: readonly GraphNode[],
    { fusedMatMul = true, scan = true, products = 'f32' }: LoweringOptions,
  ) {
    this.options = { fusedMatMul, scan, products };
    this.used = new Set([...nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.values()]);
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

  isUsed(tensor: Tensor): boolean {
    return this.used.has(tensor);
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

  /** Returns the ONNX name of a tensor. A constant is written at its first use. */
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

  /** Returns the name of a constant list of integers, i64. */
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

  /** Returns the name of a value cast to another dtype. Each cast is written once and shared. */
  cast(name: string, to: DType): string {
    const key = `${name}/${to}`;
    const known = this.casts.get(key);
    if (known) return known;
    const made = `${key}/cast`;
    this.emit('Cast', [name], [made], { to: int(dtypes[to].onnxCode) });
    this.casts.set(key, made);
    return made;
  }

  /** Returns the name of a constant f32 or f16 scalar. */
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

  /** Returns the name of an i64[1] that holds the size of a dimension at run time. */
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

  /** Returns the name of an i64[rank] that holds a shape at run time. */
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

/** Converts an operation to one ONNX operator with the same inputs and outputs, without attributes. */
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

  // A product of matrices becomes a Gemm, except where its result is multiplied by a constant: onnxruntime
  // folds the constant into the alpha of FusedMatMul, but not into that of Gemm. Folding saves a pass over
  // the result.
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
  // ScatterND is not used: onnxruntime's CPU kernel adds repeated indices from several threads and loses
  // updates.
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
  CausalAttention: ({ writer, node, inputs, outputs, attributes: { heads, keyHeads } }) => {
    const [batch, tokens] = node.inputs[0]!.shape as [Dim, Dim];
    const [result] = outputs as [string];
    const [query, key, value, ...rotary] = inputs;
    // Lengths of the texts less one, i32[B], and the length of all, i32[].
    const length = writer.cast(writer.size(tokens), 'i32');
    writer.emit('Cast', [writer.ints([1])], [`${result}/one`], { to: int(dtypes.i32.onnxCode) });
    writer.emit('Sub', [length, `${result}/one`], [`${result}/last`]);
    writer.emit('Expand', [`${result}/last`, writer.size(batch)], [`${result}/lasts`]);
    writer.emit('Squeeze', [length], [`${result}/length`]);
    writer.emit(
      'GroupQueryAttention',
      [query!, key!, value!, '', '', `${result}/lasts`, `${result}/length`, ...rotary],
      [result, `${result}/keys`, `${result}/values`],
      { num_heads: int(heads), kv_num_heads: int(keyHeads), do_rotary: flag(rotary.length > 0) },
      'com.microsoft',
    );
  },
  TokenLogLikelihood: inPieces(lowerTokenLogLikelihood),
  MemoryLogSums: inPieces(lowerMemoryLogSums),
  ArgMax: ({ writer, inputs, outputs, attributes }) =>
    writer.emit('ArgMax', inputs, outputs, {
      axis: int(attributes.axis),
      keepdims: flag(attributes.keepDims),
    }),
};

/**
 * Wraps the conversion of a product of f32 matrices, to multiply in the dtype of `options.products`.
 *
 * The operands are cast to that dtype, and the product is cast back to f32.
 */
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

/** Wraps a conversion that computes rows in pieces where the provider can run a `Scan`. */
function inPieces<Attributes>(lower: (context: PieceContext<Attributes>) => void): Lowering<Attributes> {
  return (context) => {
    const { writer, node } = context;
    const { products, scan } = writer.options;
    lower({
      ...context,
      isRead: (output) => writer.isUsed(node.outputs[output]!),
      scan: scan && products === 'f32',
      product: (...product) => writeProduct(writer, ...product),
    });
  };
}

/** Writes a product of f32 matrices of rank 2 in the dtype of `options.products`. */
function writeProduct(
  writer: Writer,
  emit: Writer['emit'],
  operands: string[],
  output: string,
  options: ProductOptions,
): void {
  const { alpha = 1, transA = 0, transB = 0 } = options;
  const attributes = { alpha: float(alpha), transA: int(transA), transB: int(transB) };
  const { products } = writer.options;
  if (products === 'f32') {
    emit('Gemm', operands, [output], attributes);
    return;
  }
  const cast = operands.map((operand) => writer.cast(operand, products));
  emit('Gemm', cast, [`${output}/${products}`], attributes);
  emit('Cast', [`${output}/${products}`], [output], { to: int(dtypes.f32.onnxCode) });
}

/** Converts a matrix product with transposes and a factor to standard operators. */
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
 * Shape operand of Reshape as constants, or undefined if the sizes must be read at run time.
 *
 * A 0 copies the input's size of that axis, and one −1 is inferred. A −1 together with a 0 is not used, since
 * it would be ambiguous for an empty batch.
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
