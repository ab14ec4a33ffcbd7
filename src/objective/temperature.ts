import { exp, mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';

/** Name of the learned temperature among the parameters. */
const LOG_SCALE = 'log_inverse_temperature';

/**
 * The softmax temperature τ: fixed, or learned as log(1/τ) so that it stays positive (CLIP, arXiv:2103.00020).
 */
export class Temperature {
  readonly initial: number;
  readonly learned: boolean;
  readonly specs: readonly ParameterSpec[];
  readonly weights: Readonly<Record<string, HostTensor>>;

  /** @param initial  τ > 0, unitless. sentence-transformers' `scale` is 1/τ. */
  constructor(initial: number, options: { learned?: boolean } = {}) {
    if (!(initial > 0) || !Number.isFinite(initial)) {
      throw new UsageError(`the temperature must be a positive number, got ${initial}`, { help: 'try 0.05' });
    }
    this.initial = initial;
    this.learned = options.learned ?? false;
    const value = -Math.log(initial);
    this.specs = this.learned
      ? [{ name: LOG_SCALE, shape: [], init: { kind: 'constant', value }, decay: false }]
      : [];
    this.weights = this.learned ? { [LOG_SCALE]: hostTensor('f32', [], Float32Array.of(value)) } : {};
  }

  /** τ as it is now. */
  get value(): number {
    const logScale = this.weights[LOG_SCALE];
    return logScale ? Math.exp(-Number(logScale.data[0])) : this.initial;
  }

  /** scores / τ inside a graph; the gradient reaches τ when it is learned. */
  divide(scores: Tensor, p: Parameters): Tensor {
    return this.learned ? mul(scores, exp(p(LOG_SCALE))) : mul(scores, 1 / this.initial);
  }
}
