import { weightAverage } from '../optim/weight-average.ts';
import { UsageError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import type { HostTensor } from './host-tensor.ts';
import { copyInto } from './learner.ts';
import { ParameterUpdate } from './parameter-update.ts';

/**
 * Exponential moving average of weights that a learner updates.
 *
 *     θ̄ ← m θ̄ + (1 − m) θ,   starting from θ̄ = θ
 *
 * Every update moves all elements of every tensor, including rows of embedding tables that no batch has used.
 * One thread takes 2 ms for a million weights. Memory: one copy of the weights.
 */
export class MovingAverage {
  /** Averages θ̄ by name. The arrays are updated in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  private readonly source: Readonly<Record<string, HostTensor>>;
  private readonly formula: ParameterUpdate;

  private constructor(source: Readonly<Record<string, HostTensor>>, formula: ParameterUpdate) {
    this.source = source;
    this.formula = formula;
    this.weights = Object.fromEntries(
      Object.entries(source).map(([name, { dtype, dims, data }]) => [
        name,
        { dtype, dims, data: data.slice() },
      ]),
    );
  }

  /**
   * Makes the average, which starts as a copy of the weights.
   *
   * @param source f32 tensors by name, whose arrays a learner updates in place
   * @param momentum m in [0, 1)
   * @throws UsageError if `momentum` is out of range.
   */
  static async create(
    source: Readonly<Record<string, HostTensor>>,
    momentum: number,
    compute: ComputeOptions = {},
  ): Promise<MovingAverage> {
    if (!(momentum >= 0 && momentum < 1)) {
      throw new UsageError(`the momentum must be at least 0 and below 1, got ${momentum}`, {
        help: 'try 0.9; the longer the run, the nearer to 1',
      });
    }
    return new MovingAverage(source, await ParameterUpdate.compile(weightAverage(momentum), compute));
  }

  /** Moves the average towards the current weights. Call it after the weights were updated. */
  async update(): Promise<void> {
    const parameters = Object.entries(this.weights).map(([name, value]) => ({
      state: { value, slots: {} },
      gradient: this.source[name]!,
    }));
    await this.formula.applyAll(parameters, STEP);
  }

  /**
   * Restores averages from a checkpoint.
   *
   * @throws UndriftError if a tensor is missing or has another size.
   */
  restore(weights: Readonly<Record<string, HostTensor>>): void {
    for (const [name, target] of Object.entries(this.weights)) copyInto(target, weights[name], name);
  }

  /** Frees the program. */
  async dispose(): Promise<void> {
    await this.formula.dispose();
  }
}

/** Numbers of a step that the interface requires. The formula of the average uses none of them. */
const STEP = { step: 1, learningRate: 0, gradientScale: 1, weightDecay: 0 };
