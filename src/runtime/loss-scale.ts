import { type HostTensor, hostTensor, scalarTensor } from './host-tensor.ts';

/** Options of a loss scale. */
export interface LossScaleOptions {
  /** Scale at the start, a power of two. Default 2¹². */
  initial?: number;
  /** Number of steps with finite gradients after which the scale is doubled. Default 500. */
  growAfter?: number;
}

/** Bounds of the scale. Gradients that still overflow at a scale of 1 are not a matter of half precision. */
const SMALLEST = 1;
const LARGEST = 2 ** 24;

/**
 * Adaptive factor on the loss that keeps gradients from vanishing in half precision, whose smallest number is
 * 6e-8.
 *
 * The optimizer divides the factor out again. If a gradient is not finite, the step is skipped and the scale
 * is halved. After a number of steps with finite gradients, the scale is doubled. The scale is a power of
 * two, so it changes no bit of an f32 gradient.
 *
 * Paper: Micikevicius et al. 2018, arXiv:1710.03740.
 */
export class LossScale {
  /** Number of steps skipped so far. */
  skipped = 0;
  private readonly growAfter: number;
  private scale: number;
  private good = 0;

  constructor({ initial = 2 ** 12, growAfter = 500 }: LossScaleOptions = {}) {
    this.scale = initial;
    this.growAfter = growAfter;
  }

  /** Current scale. */
  get value(): number {
    return this.scale;
  }

  /** Current scale as a program input f32[]. */
  get tensor(): HostTensor {
    return scalarTensor(this.scale);
  }

  /** Records a step whose gradients were all finite. Doubles the scale if it is time. */
  succeeded(): void {
    this.good += 1;
    if (this.good < this.growAfter) return;
    this.good = 0;
    this.scale = Math.min(LARGEST, 2 * this.scale);
  }

  /**
   * Records a step with a gradient that is not finite, and halves the scale.
   *
   * @returns whether a smaller scale may help; if not, nothing is recorded
   */
  failed(): boolean {
    if (this.scale <= SMALLEST) return false;
    this.skipped += 1;
    this.good = 0;
    this.scale /= 2;
    return true;
  }

  /** Returns the state for a checkpoint, f32[3]. */
  state(): HostTensor {
    return hostTensor('f32', [3], Float32Array.of(this.scale, this.good, this.skipped));
  }

  /** Restores what `state` returned. */
  restore({ data }: HostTensor): void {
    [this.scale, this.good, this.skipped] = [...(data as Float32Array)] as [number, number, number];
  }
}
