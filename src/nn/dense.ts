import {
  abs,
  add,
  div,
  exp,
  gelu,
  greater,
  logSoftmax,
  matmul,
  maximum,
  minimum,
  mul,
  neg,
  relu,
  sigmoid,
  silu,
  softmax,
  softplus,
  sub,
  tanh,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize } from './layers.ts';
import type { ParameterSpec, Parameters } from './parameters.ts';

/** Limits x to [low, high]. */
const clamp = (x: Tensor, low: number, high: number): Tensor => minimum(maximum(x, low), high);

/** Computes x for x > 0, slope · x otherwise. */
const leaky =
  (slope: number) =>
  (x: Tensor): Tensor =>
    where(greater(x, 0), x, mul(x, slope));

/** Computes x for x > 0, α (eˣ − 1) otherwise. */
const elu = (x: Tensor, alpha = 1): Tensor => where(greater(x, 0), x, mul(sub(exp(minimum(x, 0)), 1), alpha));

/** Sets x to 0 where |x| ≤ 1/2. */
const hardShrink = (x: Tensor): Tensor => where(greater(abs(x), 0.5), x, 0);

const hardSigmoid = (x: Tensor): Tensor => clamp(add(mul(x, 1 / 6), 0.5), 0, 1);

/**
 * Activation functions of dense layers by their class names in `torch.nn`, with PyTorch's default settings. The
 * functions that compare the elements of a vector act on the last axis.
 */
export const denseActivations = {
  Identity: (x: Tensor): Tensor => x,
  Tanh: tanh,
  ReLU: relu,
  ReLU6: (x: Tensor): Tensor => clamp(x, 0, 6),
  LeakyReLU: leaky(0.01),
  // Mean of the slopes 1/8 and 1/3, between which training draws.
  RReLU: leaky((1 / 8 + 1 / 3) / 2),
  ELU: (x: Tensor): Tensor => elu(x),
  CELU: (x: Tensor): Tensor => elu(x),
  SELU: (x: Tensor): Tensor => mul(elu(x, 1.6732632423543772), 1.0507009873554805),
  GELU: gelu,
  SiLU: silu,
  Mish: (x: Tensor): Tensor => mul(x, tanh(softplus(x))),
  Sigmoid: sigmoid,
  LogSigmoid: (x: Tensor): Tensor => neg(softplus(neg(x))),
  Softplus: softplus,
  Softsign: (x: Tensor): Tensor => div(x, add(abs(x), 1)),
  Tanhshrink: (x: Tensor): Tensor => sub(x, tanh(x)),
  Softshrink: (x: Tensor): Tensor => sub(x, clamp(x, -0.5, 0.5)),
  Hardshrink: hardShrink,
  Hardtanh: (x: Tensor): Tensor => clamp(x, -1, 1),
  Hardsigmoid: hardSigmoid,
  Hardswish: (x: Tensor): Tensor => mul(x, hardSigmoid(x)),
  Softmax: (x: Tensor): Tensor => softmax(x),
  Softmin: (x: Tensor): Tensor => softmax(neg(x)),
  LogSoftmax: (x: Tensor): Tensor => logSoftmax(x),
} as const;

/** Name of an activation function of dense layers. */
export type DenseActivation = keyof typeof denseActivations;

/** Dense layer after pooling: y = f(W x + b), or f(W x + b) + R x. */
export interface DenseLayer {
  /** Number of outputs. */
  readonly size: number;
  /** Whether there is a bias b. Default false. */
  readonly bias?: boolean;
  /** Activation function f. Default `Identity`. */
  readonly activation?: DenseActivation;
  /** Whether the input is added to the result, through a matrix R if the sizes differ. Default false. */
  readonly residual?: boolean;
  /** Whether the input is normalised to unit length first. Default false. */
  readonly normalizeInput?: boolean;
}

/** Name of a layer. Its parameters have the endings `.weight`, `.bias` and `.residual.weight`. */
export const denseName = (layer: number): string => (layer === 0 ? 'projection' : `projection${layer + 1}`);

/** Tells whether a layer is y = W x. */
export const isPlainDense = ({
  bias,
  activation = 'Identity',
  residual,
  normalizeInput,
}: DenseLayer): boolean => !bias && activation === 'Identity' && !residual && !normalizeInput;

/**
 * Lists the parameters of each of several dense layers.
 *
 * @param inputs number of inputs of the first layer
 */
export function denseParameters(layers: readonly DenseLayer[], inputs: number): ParameterSpec[][] {
  let width = inputs;
  return layers.map(({ size, bias, residual }, i) => {
    const name = denseName(i);
    const matrix = (of: string): ParameterSpec => ({
      name: `${of}.weight`,
      shape: [size, width],
      init: { kind: 'normal', deviation: 1 / Math.sqrt(width) },
      decay: true,
    });
    const specs: ParameterSpec[] = [
      matrix(name),
      ...(bias
        ? [
            {
              name: `${name}.bias`,
              shape: [size],
              init: { kind: 'constant', value: 0 },
              decay: false,
            } as const,
          ]
        : []),
      ...(residual && size !== width ? [matrix(`${name}.residual`)] : []),
    ];
    width = size;
    return specs;
  });
}

/**
 * Applies dense layers, one after the other.
 *
 * @param x f32[B, inputs]
 * @returns f32[B, size of the last layer]
 */
export function dense(x: Tensor, p: Parameters, layers: readonly DenseLayer[]): Tensor {
  const mapped = (input: Tensor, name: string) => matmul(input, p(`${name}.weight`), { transB: true });
  return layers.reduce((before, { size, bias, activation = 'Identity', residual, normalizeInput }, i) => {
    const name = denseName(i);
    const input = normalizeInput ? normalize(before) : before;
    const product = mapped(input, name);
    const y = denseActivations[activation](bias ? add(product, p(`${name}.bias`)) : product);
    if (!residual) return y;
    return add(y, input.shape[1] === size ? input : mapped(input, `${name}.residual`));
  }, x);
}
