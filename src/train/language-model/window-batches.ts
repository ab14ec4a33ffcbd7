import { lengthGroupedBatches } from '../../text/length-grouped-batches.ts';
import type { PackedWindows, WindowBatch } from '../../text/packed-windows.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import type { BatchSource } from '../loop.ts';

/**
 * Batches of windows for a run. Each epoch visits each window exactly once, in an order of its own; its last batches may be smaller.
 * Windows of similar length are batched together. A batch depends only on seed and number, so that a resumed run continues as if it
 * had never stopped.
 */
export class WindowBatches implements BatchSource<WindowBatch> {
  /** Batches of one pass over the windows. */
  readonly perEpoch: number;
  private readonly windows: PackedWindows;
  private readonly options: { readonly batchSize: number; readonly seed: number };
  private epoch = -1;
  private epochBatches: readonly Uint32Array[] = [];

  constructor(windows: PackedWindows, options: { batchSize: number; seed: number }) {
    this.windows = windows;
    this.options = options;
    this.perEpoch = Math.ceil(windows.count / options.batchSize);
  }

  /**
   * Returns a batch of the run.
   *
   * @param number  number of the batch in the run, from 0
   */
  batch(number: number): WindowBatch {
    const { seed, batchSize } = this.options;
    const epoch = Math.floor(number / this.perEpoch);
    if (epoch !== this.epoch) {
      const order = permutation(rngKey(seed, epoch, 'windows'), this.windows.count);
      this.epochBatches = lengthGroupedBatches(this.windows.lengths, order, { batchSize });
      this.epoch = epoch;
    }
    return this.windows.batch(this.epochBatches[number % this.perEpoch]!);
  }
}
