import type { DType } from '../onnx/dtypes.ts';
import type { Dim } from './dims.ts';

type None = Record<never, never>;

/**
 * Every operation of a graph and its attributes. The gradient rules (`src/grad/rules.ts`) and the lowering to ONNX
 * (`src/graph/to-onnx.ts`) are total maps over these keys: an operation without either does not compile.
 */
export interface OpAttributes {
  // Elementwise, one input.
  Neg: None;
  Abs: None;
  Sign: None;
  Exp: None;
  Log: None;
  Sqrt: None;
  Reciprocal: None;
  Sin: None;
  Cos: None;
  Tanh: None;
  Sigmoid: None;
  Softplus: None;
  Relu: None;
  Erf: None;
  Gelu: None;
  Floor: None;
  Not: None;
  IsNaN: None;
  Cast: { to: DType };
  StopGradient: None;

  // Elementwise, two inputs, broadcast.
  Add: None;
  Sub: None;
  Mul: None;
  Div: None;
  Pow: None;
  Max: None;
  Min: None;
  Equal: None;
  Less: None;
  LessOrEqual: None;
  Greater: None;
  GreaterOrEqual: None;
  And: None;
  Or: None;
  BitwiseXor: None;
  ShiftRight: None;

  /** inputs (condition bool, a, b), broadcast. */
  Where: None;

  /** alpha · op(A) op(B); equal ranks, leading axes broadcast. */
  MatMul: { transA: boolean; transB: boolean; alpha: number };
  /** op(A) op(B) + bias[N], A and B of rank 2. */
  Gemm: { transA: boolean; transB: boolean };

  ReduceSum: { axes: number[]; keepDims: boolean };
  ReduceMean: { axes: number[]; keepDims: boolean };
  ReduceMax: { axes: number[]; keepDims: boolean };
  ReduceMin: { axes: number[]; keepDims: boolean };
  ReduceLogSumExp: { axes: number[]; keepDims: boolean };
  Softmax: { axis: number };
  LogSoftmax: { axis: number };
  /** inputs (x, scale, bias) over the last axis; outputs (y, mean, inverse standard deviation). */
  LayerNormalization: { epsilon: number };

  Reshape: { shape: Dim[] };
  Transpose: { perm: number[] };
  Concat: { axis: number };
  Slice: { axis: number; start: Dim; length: Dim };
  Split: { axis: number; sizes: Dim[] };
  Expand: { shape: Dim[] };
  /** No input: a tensor of one value. */
  Fill: { shape: Dim[]; value: number; dtype: DType };
  /** No input: 0, 1, …, length−1 as i64. */
  Range: { length: Dim };
  /** No input: the size of a dimension as a scalar. */
  DimSize: { dim: Dim; dtype: DType };

  /** inputs (x, indices i64): rows of `axis` by index. */
  Gather: { axis: number };
  /** inputs (x [N, D], indices i64[R], inverse i64[N]): rows of x, whose gradient goes back by the inverse. */
  TakeRows: None;
  /** inputs (x, indices i64 of x's rank). */
  GatherElements: { axis: number };
  /** inputs (base, indices i64, updates of the indices' shape): base with updates added at the indices. */
  ScatterAdd: { axis: number };
  Scatter: { axis: number };
  /** outputs (values, indices i64), sorted. */
  TopK: { axis: number; k: Dim; largest: boolean };
  ArgMax: { axis: number; keepDims: boolean };
}

export type OpType = keyof OpAttributes;
