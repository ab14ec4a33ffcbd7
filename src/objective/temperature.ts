import { exp, mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';

/** Name of the learned temperature's parameter, log(1/τ). */
const LOG_SCALE = 'log_inverse_temperature';

/**
 * Softmax temperature τ, by which scores are divided. τ is fixed, or learned as log(1/τ) so that it stays positive (CLIP,
 * arXiv:2103.00020).
 */
export class Temperature {
  /** τ at the beginning, unitless. */
  readonly initial: number;
  /** Whether τ is a trained parameter. */
  readonly learned: boolean;
  /** Specification of the learned parameter; empty for a fixed τ. */
  readonly specs: readonly ParameterSpec[];
  /** Live array of the learned parameter, log(1/τ) f32[]; empty for a fixed τ. */
  readonly weights: Readonly<Record<string, HostTensor>>;

  /**
   * @param initial  τ > 0, unitless. The `scale` of sentence-transformers is 1/τ.
   * @param options.learned  train τ as a parameter. Default false.
   * @throws UsageError where `initial` is not a positive finite number
   */
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

  /** Current value of τ. */
  get value(): number {
    const logScale = this.weights[LOG_SCALE];
    return logScale ? Math.exp(-Number(logScale.data[0])) : this.initial;
  }

  /**
   * Divides scores by τ inside a graph. The gradient reaches τ where it is learned.
   *
   * @param scores  f32 of any shape
   * @param p  parameters of the graph
   */
  divide(scores: Tensor, p: Parameters): Tensor {
    return this.learned ? mul(scores, exp(p(LOG_SCALE))) : mul(scores, 1 / this.initial);
  }
}
