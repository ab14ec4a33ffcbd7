import { dtypes } from '../onnx/dtypes.ts';
import type { OnnxAttribute } from '../onnx/model.ts';
import { ShapeError } from '../util/errors.ts';
import { addDims, type Dim, sameDim } from './dims.ts';
import type { PieceContext, ProductOptions } from './lower-in-pieces.ts';
import { lowerMemoryLogSums } from './lower-memory-log-sums.ts';
import { lowerTokenLogLikelihood } from './lower-token-log-likelihood.ts';
import { int, type OnnxWriter } from './onnx-writer.ts';
import type { OpAttributes, OpType } from './op-types.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** @file ONNX operators of each op of the graph. */

/** Writes the ONNX operators of a node. */
export function lowerNode(writer: OnnxWriter, node: GraphNode): void {
  const inputs = node.inputs.map((input) => writer.value(input));
  const outputs = node.outputs.map((output) => writer.name(output));
  const lower = LOWERING[node.op] as Lowering<unknown>;
  lower({ writer, node, inputs, outputs, attributes: node.attributes });
  for (const output of node.outputs) writer.remember(output);
}

const float = (value: number): OnnxAttribute => ({ kind: 'float', value });
const ints = (value: number[]): OnnxAttribute => ({ kind: 'ints', value });
const flag = (value: boolean): OnnxAttribute => int(value ? 1 : 0);

type Lowering<Attributes> = (context: {
  writer: OnnxWriter;
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
  writer: OnnxWriter,
  emit: OnnxWriter['emit'],
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
