import type { DType } from '../onnx/dtypes.ts';
import type { Dim } from './dims.ts';

/** Attributes of an operation that has none. */
export type None = Record<never, never>;

/**
 * Operations of a graph and their attributes.
 *
 * The gradient rules (`src/grad/rules.ts`) and the conversion to ONNX (`src/graph/to-onnx.ts`) are total maps
 * over these keys, so an operation that lacks either does not compile.
 */
export interface OpAttributes {
  // Elementwise, one input; formulas stand at the functions of `ops/elementwise.ts`.
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

  /** a where the condition holds, else b. Inputs (condition bool, a, b), broadcast. */
  Where: None;

  /** alpha · op(A) op(B), for equal ranks; leading axes broadcast. */
  MatMul: { transA: boolean; transB: boolean; alpha: number };
  /** op(A) op(B) + bias[N], for A and B of rank 2. */
  Gemm: { transA: boolean; transB: boolean };

  /** Sum along axes. */
  ReduceSum: { axes: number[]; keepDims: boolean };
  /** Mean along axes. */
  ReduceMean: { axes: number[]; keepDims: boolean };
  /** Largest element along axes. */
  ReduceMax: { axes: number[]; keepDims: boolean };
  /** Smallest element along axes. */
  ReduceMin: { axes: number[]; keepDims: boolean };
  /** log Σ exp(x) along axes. */
  ReduceLogSumExp: { axes: number[]; keepDims: boolean };
  /** exp(x) / Σ exp(x) along an axis. */
  Softmax: { axis: number };
  /** x − log Σ exp(x) along an axis. */
  LogSoftmax: { axis: number };
  /**
   * Layer norm over the last axis. Inputs (x, scale, bias); outputs (y, mean, inverse standard deviation).
   */
  LayerNormalization: { epsilon: number };

  /** Elements of x in another shape. */
  Reshape: { shape: Dim[] };
  /** Axes in another order: axis i of the result is axis `perm[i]` of x. */
  Transpose: { perm: number[] };
  /** Tensors joined along an axis. */
  Concat: { axis: number };
  /** Part of an axis: `length` elements from `start` on. */
  Slice: { axis: number; start: Dim; length: Dim };
  /** Pieces of an axis, with the given sizes. One output per piece. */
  Split: { axis: number; sizes: Dim[] };
  /** Repetition of axes of size 1, and of new leading axes, up to the given shape. */
  Expand: { shape: Dim[] };
  /** Tensor of one repeated value. No inputs. */
  Fill: { shape: Dim[]; value: number; dtype: DType };
  /** 0, 1, …, length−1 as i64. No inputs. */
  Range: { length: Dim };
  /** Size of a dimension, as a scalar. No inputs. */
  DimSize: { dim: Dim; dtype: DType };

  /** Slices of x along `axis`, by index. Inputs (x, indices i64). */
  Gather: { axis: number };
  /**
   * Rows of x, with the gradient gathered by the inverse. Inputs (x [N, D], indices i64[R], inverse i64[N]).
   */
  TakeRows: None;
  /** Single elements of x along `axis`, by index. Inputs (x, indices i64 of x's rank). */
  GatherElements: { axis: number };
  /**
   * base with updates added at the indices. Inputs (base, indices i64, updates with the shape of the
   * indices).
   */
  ScatterAdd: { axis: number };
  /** base with elements replaced by updates at the indices. Inputs as for `ScatterAdd`. */
  Scatter: { axis: number };
  /** The k largest or smallest elements along `axis`, sorted. Outputs (values, indices i64). */
  TopK: { axis: number; k: Dim; largest: boolean };
  /**
   * Causal attention, see `causalAttention`. Inputs (query [B, T, H·S], key and value [B, T, G·S] and, for rotary
   * positions, cosines and sines [T, S/2]).
   */
  CausalAttention: { heads: number; keyHeads: number };
  /**
   * Weighted log-likelihood of tokens under softmax(hidden · matrixᵀ), see `tokenLogLikelihood`. Inputs (hidden
   * [R, D], matrix [V, D], ids i64[R], weights [R]); outputs (total, log-probabilities [R], and the gradients of the
   * total with respect to hidden and matrix).
   */
  TokenLogLikelihood: { scoresPerPiece: number };
  /**
   * Log-sums over the tokens of a memory, see `memoryLogSums`. Inputs (queries [R, D], keys [M, D], their marks i64[R, 3] and i64[M, 3],
   * weights [R, 2]); outputs (all [R], matching [R], and the gradients of the weighted sums with respect to queries and keys).
   */
  MemoryLogSums: { scale: number; others: boolean; scoresPerPiece: number };

  /** Index of the largest element along an axis, as i64. */
  ArgMax: { axis: number; keepDims: boolean };
}

/** Name of an operation: `'Add'`, `'MatMul'`, … */
export type OpType = keyof OpAttributes;
