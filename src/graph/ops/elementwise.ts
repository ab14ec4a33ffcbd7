import type { DType } from '../../onnx/dtypes.ts';
import type { OpType } from '../op-types.ts';
import type { Tensor } from '../tensor.ts';
import { broadcastShapes, requireDType, requireFloat, requireSameDType } from './broadcast.ts';

/*
 * Elementwise operations. Two-input ones broadcast as NumPy does; a plain number stands for a constant of the other
 * operand's dtype.
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

export const neg = unary('Neg');
export const abs = unary('Abs');
/** −1, 0 or 1. No gradient. */
export const sign = unary('Sign');
export const exp = unary('Exp');
export const log = unary('Log');
export const sqrt = unary('Sqrt');
export const reciprocal = unary('Reciprocal');
export const sin = unary('Sin');
export const cos = unary('Cos');
export const tanh = unary('Tanh');
/** 1 / (1 + e⁻ˣ) */
export const sigmoid = unary('Sigmoid');
/** log(1 + eˣ) */
export const softplus = unary('Softplus');
export const relu = unary('Relu');
export const erf = unary('Erf');
/** x Φ(x), Φ the normal distribution function (the exact form, by erf). */
export const gelu = unary('Gelu');
/** Greatest integer ≤ x. No gradient. */
export const floor = unary('Floor');

/** x σ(x) */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));

export const square = (x: Tensor): Tensor => mul(x, x);

/** Gelu by tanh: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), as GPT-2 has it. */
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

export const add = binary('Add');
export const sub = binary('Sub');
export const mul = binary('Mul');
export const div = binary('Div');
export const pow = binary('Pow');
/** The larger of two, element by element. */
export const maximum = binary('Max');
/** The smaller of two, element by element. */
export const minimum = binary('Min');
/** Bits of u32 numbers. No gradient. */
export const bitwiseXor = binary('BitwiseXor');
export const shiftRight = binary('ShiftRight');

const compare =
  (op: Comparison) =>
  (a: Tensor | number, b: Tensor | number): Tensor => {
    const [x, y] = pair(op, a, b);
    return x.graph.add(op, [x, y], {}, [{ dtype: 'bool', shape: broadcastShapes(op, x, y) }])[0]!;
  };

/** Comparisons give bool and have no gradient. */
export const equal = compare('Equal');
export const less = compare('Less');
export const lessOrEqual = compare('LessOrEqual');
export const greater = compare('Greater');
export const greaterOrEqual = compare('GreaterOrEqual');

const logical =
  (op: 'And' | 'Or') =>
  (a: Tensor, b: Tensor): Tensor => {
    requireDType(op, a, 'bool');
    requireDType(op, b, 'bool');
    return a.graph.add(op, [a, b], {}, [{ dtype: 'bool', shape: broadcastShapes(op, a, b) }])[0]!;
  };

export const and = logical('And');
export const or = logical('Or');

export function not(x: Tensor): Tensor {
  requireDType('Not', x, 'bool');
  return x.graph.add('Not', [x], {}, [{ dtype: 'bool', shape: x.shape }])[0]!;
}

/** bool: true where x is not a number. */
export function isNotANumber(x: Tensor): Tensor {
  requireFloat('IsNaN', x);
  return x.graph.add('IsNaN', [x], {}, [{ dtype: 'bool', shape: x.shape }])[0]!;
}

/** a where the condition (bool) holds, else b. */
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

/** The same values as another dtype. The gradient is cast back. */
export function cast(x: Tensor, to: DType): Tensor {
  if (x.dtype === to) return x;
  return x.graph.add('Cast', [x], { to }, [{ dtype: to, shape: x.shape }])[0]!;
}

/** sg(x): the value of x, through which no gradient flows. */
export function stopGradient(x: Tensor): Tensor {
  return x.graph.add('StopGradient', [x], {}, [{ dtype: x.dtype, shape: x.shape }])[0]!;
}
