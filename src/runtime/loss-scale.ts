import { type HostTensor, hostTensor, scalarTensor } from './host-tensor.ts';

export interface LossScaleOptions {
  /** At the start. Default 2¹². */
  initial?: number;
  /** Good steps after which it is doubled. Default 500. */
  growAfter?: number;
}

/** Beyond these a scale helps nothing: what overflows without one is no matter of half precision. */
const SMALLEST = 1;
const LARGEST = 2 ** 24;

/**
 * A factor on the loss, so that gradients do not vanish in half precision, whose smallest number is 6e-8 (Micikevicius et al. 2018,
 * arXiv:1710.03740). The optimizer divides it out again. It follows the gradients: halved where one is not finite, and that step is
 * skipped; doubled after some good steps. Powers of two: in f32 it changes no bit of a gradient.
 */
export class LossScale {
  /** Steps skipped so far. */
  skipped = 0;
  private readonly growAfter: number;
  private scale: number;
  private good = 0;

  constructor({ initial = 2 ** 12, growAfter = 500 }: LossScaleOptions = {}) {
    this.scale = initial;
    this.growAfter = growAfter;
  }

  get value(): number {
    return this.scale;
  }

  /** Program input f32[]. */
  get tensor(): HostTensor {
    return scalarTensor(this.scale);
  }

  /** All gradients of a step were finite. */
  succeeded(): void {
    this.good += 1;
    if (this.good < this.growAfter) return;
    this.good = 0;
    this.scale = Math.min(LARGEST, 2 * this.scale);
  }

  /** A gradient was not finite. @returns  whether a smaller scale may help */
  failed(): boolean {
    if (this.scale <= SMALLEST) return false;
    this.skipped += 1;
    this.good = 0;
    this.scale /= 2;
    return true;
  }

  /** f32[3], for a checkpoint. */
  state(): HostTensor {
    return hostTensor('f32', [3], Float32Array.of(this.scale, this.good, this.skipped));
  }

  restore({ data }: HostTensor): void {
    [this.scale, this.good, this.skipped] = [...(data as Float32Array)] as [number, number, number];
  }
}
