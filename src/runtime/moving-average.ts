import { weightAverage } from '../optim/weight-average.ts';
import { UsageError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import type { HostTensor } from './host-tensor.ts';
import { copyInto } from './learner.ts';
import { ParameterUpdate } from './parameter-update.ts';

/**
 * Slowly moving copies of weights that a learner moves:
 *
 *   θ̄ ← m θ̄ + (1 − m) θ,   from θ̄ = θ at the start
 *
 * All of every tensor moves at every update, the rows of embedding tables too that no batch has touched. One thread takes 2 ms for
 * a million weights. Memory: one copy.
 */
export class MovingAverage {
  /** θ̄ by name: the live arrays. */
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
   * @param source  f32 tensors by name, whose arrays somebody else moves
   * @param momentum  m in [0, 1)
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

  /** After the weights have moved. */
  async update(): Promise<void> {
    const parameters = Object.entries(this.weights).map(([name, value]) => ({
      state: { value, slots: {} },
      gradient: this.source[name]!,
    }));
    await this.formula.applyAll(parameters, STEP);
  }

  /** Takes back what `weights` was. @throws UndriftError where a tensor is missing or of another size */
  restore(weights: Readonly<Record<string, HostTensor>>): void {
    for (const [name, target] of Object.entries(this.weights)) copyInto(target, weights[name], name);
  }

  async dispose(): Promise<void> {
    await this.formula.dispose();
  }
}

/** The formula asks for none of these. */
const STEP = { step: 1, learningRate: 0, gradientScale: 1, weightDecay: 0 };
