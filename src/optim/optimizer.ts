import type { Tensor } from '../graph/tensor.ts';

/** What is known of a step before its gradients are used; all plain numbers. */
export interface StepNumbers {
  /** Number of this update, from 1. */
  step: number;
  learningRate: number;
  /** Factor on every gradient: 1, or less where the global norm is clipped. */
  gradientScale: number;
  /** Weight decay of this parameter: 0 for biases and norms. */
  weightDecay: number;
}

/**
 * An optimizer is an elementwise formula: from a parameter, its gradient and its state to the next parameter and state.
 * It is compiled once for flat vectors f32[n] and run over every parameter, and once more for the touched rows of tables.
 */
export interface Optimizer {
  readonly id: string;
  /** Names of the state tensors, each of the parameter's shape, zero at the start. */
  readonly slots: readonly string[];
  /** Names of the numbers that `numbers` gives. */
  readonly scalars: readonly string[];
  numbers(step: StepNumbers): Record<string, number>;
  update(
    tensors: { parameter: Tensor; gradient: Tensor; slots: Record<string, Tensor> },
    scalars: Record<string, Tensor>,
  ): { parameter: Tensor; slots: Record<string, Tensor> };
}
