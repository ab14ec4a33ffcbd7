import type { Tensor } from '../graph/tensor.ts';

/** Numbers of one update that are known before its gradients are used. */
export interface StepNumbers {
  /** Number of the update, counted from 1. */
  step: number;
  /** Learning rate of the update. */
  learningRate: number;
  /** Factor on every gradient: below 1 if the global norm of the gradients is clipped, else 1. */
  gradientScale: number;
  /** Weight decay of the parameter: 0 for biases and norms. */
  weightDecay: number;
}

/**
 * Elementwise formula that computes the next value and state of a parameter from its value, state and
 * gradient.
 *
 * The formula is compiled once for flat vectors f32[n], which serves every parameter, and once for the
 * touched rows of lookup tables.
 */
export interface Optimizer {
  /** Name of the optimizer. */
  readonly id: string;
  /** Names of the state tensors. Each has the shape of the parameter and is zero at the start. */
  readonly slots: readonly string[];
  /** Names of the numbers that `numbers` returns. */
  readonly scalars: readonly string[];
  /** Computes the numbers of one update, by the names in `scalars`. */
  numbers(step: StepNumbers): Record<string, number>;
  /** Builds the update as operations of a graph. `scalars` holds the numbers as scalar tensors. */
  update(
    tensors: { parameter: Tensor; gradient: Tensor; slots: Record<string, Tensor> },
    scalars: Record<string, Tensor>,
  ): { parameter: Tensor; slots: Record<string, Tensor> };
}

/** Numbers of optimizers whose step is a rate times a direction, with decoupled weight decay: keep = 1 − η λ, the gradient's factor, and η. */
export const DECOUPLED_DECAY: Pick<Optimizer, 'scalars' | 'numbers'> = {
  scalars: ['keep', 'gradientScale', 'rate'],
  numbers: ({ learningRate, gradientScale, weightDecay }) => ({
    keep: 1 - learningRate * weightDecay,
    gradientScale,
    rate: learningRate,
  }),
};
