import { gelu, geluTanh, mul, relu, sigmoid, silu } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** x σ(1.702 x) */
const quickGelu = (x: Tensor): Tensor => mul(x, sigmoid(mul(x, 1.702)));

/** Activations by the names that Hugging Face's configurations give them. */
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

export type Activation = keyof typeof activations;

export const activationNames = Object.keys(activations) as Activation[];
