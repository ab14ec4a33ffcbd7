import { gelu, geluTanh, mul, relu, sigmoid, silu } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** Gelu in the sigmoid approximation: x σ(1.702 x). */
const quickGelu = (x: Tensor): Tensor => mul(x, sigmoid(mul(x, 1.702)));

/** Activation functions by their names in Hugging Face's configurations. */
export const activations = {
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_python_tanh: geluTanh,
  quick_gelu: quickGelu,
  relu,
  silu,
  swish: silu,
} as const;

/** Name of an activation function. */
export type Activation = keyof typeof activations;

/** Names of all activation functions. */
export const activationNames = Object.keys(activations) as Activation[];
