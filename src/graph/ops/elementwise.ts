import type { DType } from '../../onnx/dtypes.ts';
import type { OpType } from '../op-types.ts';
import type { Tensor } from '../tensor.ts';
import { broadcastShapes, requireDType, requireFloat, requireSameDType } from './broadcast.ts';

/*
 * Elementwise operations. Those with two inputs broadcast as in NumPy. A plain number stands for a constant with the
 * dtype of the other operand.
 */

type UnaryOp =
  | 'Neg'
  | 'Abs'
  | 'Sign'
  | 'Exp'
  | 'Log'
  | 'Sqrt'
  | 'Reciprocal'
  | 'Sin'
  | 'Cos'
  | 'Tanh'
  | 'Sigmoid';
type FloatUnaryOp = UnaryOp | 'Softplus' | 'Relu' | 'Erf' | 'Gelu' | 'Floor';

const unary =
  (op: FloatUnaryOp) =>
  (x: Tensor): Tensor => {
    requireFloat(op, x);
    return x.graph.add(op, [x], {}, [{ dtype: x.dtype, shape: x.shape }])[0]!;
  };

/** −x, element by element. x: float of any shape. */
export const neg = unary('Neg');
/** |x|, element by element. x: float of any shape. */
export const abs = unary('Abs');
/** Sign of x: −1, 0 or 1, element by element. x: float of any shape. No gradient. */
export const sign = unary('Sign');
/** eˣ, element by element. x: float of any shape. */
export const exp = unary('Exp');
/** Natural logarithm of x, element by element. x: float of any shape. */
export const log = unary('Log');
/** √x, element by element. x: float of any shape. */
export const sqrt = unary('Sqrt');
/** 1 / x, element by element. x: float of any shape. */
export const reciprocal = unary('Reciprocal');
/** sin x, x in radians, element by element. x: float of any shape. */
export const sin = unary('Sin');
/** cos x, x in radians, element by element. x: float of any shape. */
export const cos = unary('Cos');
/** tanh x, element by element. x: float of any shape. */
export const tanh = unary('Tanh');
/** Logistic function σ(x) = 1 / (1 + e⁻ˣ), element by element. x: float of any shape. */
export const sigmoid = unary('Sigmoid');
/** log(1 + eˣ), element by element. x: float of any shape. */
export const softplus = unary('Softplus');
/** max(x, 0), element by element. x: float of any shape. */
export const relu = unary('Relu');
/** Error function erf(x), element by element. x: float of any shape. */
export const erf = unary('Erf');
/** Gelu: x Φ(x) with the normal distribution function Φ, in the exact form by erf. x: float of any shape. */
export const gelu = unary('Gelu');
/** Greatest integer ≤ x, element by element. x: float of any shape. No gradient. */
export const floor = unary('Floor');

/** Silu (swish): x σ(x), element by element. x: float of any shape. */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));

/** x², element by element. */
export const square = (x: Tensor): Tensor => mul(x, x);

/** Gelu in the tanh approximation of GPT-2: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))). */
export const geluTanh = (x: Tensor): Tensor => {
  const inner = mul(mul(x, add(mul(square(x), 0.044715), 1)), Math.sqrt(2 / Math.PI));
  return mul(mul(x, 0.5), add(tanh(inner), 1));
};

type BinaryOp = 'Add' | 'Sub' | 'Mul' | 'Div' | 'Pow' | 'Max' | 'Min' | 'BitwiseXor' | 'ShiftRight';
type Comparison = 'Equal' | 'Less' | 'LessOrEqual' | 'Greater' | 'GreaterOrEqual';

function pair(op: OpType, a: Tensor | number, b: Tensor | number): [Tensor, Tensor] {
  if (typeof a !== 'number') {
    const right = typeof b === 'number' ? a.graph.scalar(b, a.dtype) : b;
    requireSameDType(op, a, right);
    return [a, right];
  }
  if (typeof b === 'number') throw new TypeError(`${op} of two plain numbers: compute it outside the graph`);
  return [b.graph.scalar(a, b.dtype), b];
}

const binary =
  (op: BinaryOp) =>
  (a: Tensor | number, b: Tensor | number): Tensor => {
    const [x, y] = pair(op, a, b);
    return x.graph.add(op, [x, y], {}, [{ dtype: x.dtype, shape: broadcastShapes(op, x, y) }])[0]!;
  };

/**
 * a + b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const add = binary('Add');
/**
 * a − b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const sub = binary('Sub');
/**
 * a · b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const mul = binary('Mul');
/**
 * a / b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const div = binary('Div');
/**
 * a to the power of b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const pow = binary('Pow');
/**
 * Larger of a and b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const maximum = binary('Max');
/**
 * Smaller of a and b, element by element, with broadcasting.
 *
 * @throws ShapeError if the dtypes differ or the shapes do not broadcast.
 */
export const minimum = binary('Min');
/** Bitwise exclusive or of u32 numbers, with broadcasting. No gradient. */
export const bitwiseXor = binary('BitwiseXor');
/** u32 numbers a shifted right by b bits, with broadcasting. No gradient. */
export const shiftRight = binary('ShiftRight');

const compare =
  (op: Comparison) =>
  (a: Tensor | number, b: Tensor | number): Tensor => {
    const [x, y] = pair(op, a, b);
    return x.graph.add(op, [x, y], {}, [{ dtype: 'bool', shape: broadcastShapes(op, x, y) }])[0]!;
  };

/** a = b as bool, element by element, with broadcasting. No gradient. */
export const equal = compare('Equal');
/** a < b as bool, element by element, with broadcasting. No gradient. */
export const less = compare('Less');
/** a ≤ b as bool, element by element, with broadcasting. No gradient. */
export const lessOrEqual = compare('LessOrEqual');
/** a > b as bool, element by element, with broadcasting. No gradient. */
export const greater = compare('Greater');
/** a ≥ b as bool, element by element, with broadcasting. No gradient. */
export const greaterOrEqual = compare('GreaterOrEqual');

const logical =
  (op: 'And' | 'Or') =>
  (a: Tensor, b: Tensor): Tensor => {
    requireDType(op, a, 'bool');
    requireDType(op, b, 'bool');
    return a.graph.add(op, [a, b], {}, [{ dtype: 'bool', shape: broadcastShapes(op, a, b) }])[0]!;
  };

/** Logical and of bool tensors, with broadcasting. No gradient. */
export const and = logical('And');
/** Logical or of bool tensors, with broadcasting. No gradient. */
export const or = logical('Or');

/** Logical negation of a bool tensor. No gradient. */
export function not(x: Tensor): Tensor {
  requireDType('Not', x, 'bool');
  return x.graph.add('Not', [x], {}, [{ dtype: 'bool', shape: x.shape }])[0]!;
}

/** Returns bool: true where x (float) is NaN. No gradient. */
export function isNotANumber(x: Tensor): Tensor {
  requireFloat('IsNaN', x);
  return x.graph.add('IsNaN', [x], {}, [{ dtype: 'bool', shape: x.shape }])[0]!;
}

/**
 * a where the condition (bool) is true, else b, with broadcasting. The condition gets no gradient.
 *
 * @throws ShapeError if a and b differ in dtype, or the shapes do not broadcast.
 */
export function where(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  requireDType('Where', condition, 'bool');
  const dtype: DType = typeof a !== 'number' ? a.dtype : typeof b !== 'number' ? b.dtype : 'f32';
  const x = typeof a === 'number' ? condition.graph.scalar(a, dtype) : a;
  const y = typeof b === 'number' ? condition.graph.scalar(b, dtype) : b;
  requireSameDType('Where', x, y);
  const values = broadcastShapes('Where', x, y);
  const shape = broadcastShapes('Where', condition, x, condition.shape, values);
  return condition.graph.add('Where', [condition, x, y], {}, [{ dtype, shape }])[0]!;
}

/** Converts x to another dtype. The gradient is converted back to the dtype of x. */
export function cast(x: Tensor, to: DType): Tensor {
  if (x.dtype === to) return x;
  return x.graph.add('Cast', [x], { to }, [{ dtype: to, shape: x.shape }])[0]!;
}

/** sg(x): returns x, and passes no gradient to x. */
export function stopGradient(x: Tensor): Tensor {
  return x.graph.add('StopGradient', [x], {}, [{ dtype: x.dtype, shape: x.shape }])[0]!;
}
