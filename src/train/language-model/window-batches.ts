import type { WindowBatch } from '../../text/packed-windows.ts';
import type { BatchSource } from '../loop.ts';
import type { WindowBatcher } from './window-batcher.ts';

/** Windows of texts, of which batches are made, such as `PackedWindows`. */
export interface BatchMaker<Batch> {
  /**
   * Makes the batch of some windows.
   *
   * @param draw  number of the batch in the run, from 0, which keys all that is drawn at random
   */
  batch(windows: ArrayLike<number>, draw: number): Batch;
}

/**
 * Batches of windows for a run. Each epoch visits each window exactly once, in an order of its own. A batch depends only on the batcher
 * and its number, so that a resumed run continues as if it had never stopped.
 */
export class WindowBatches<Batch = WindowBatch> implements BatchSource<Batch> {
  /** Batches of one pass over the windows. */
  readonly perEpoch: number;
  private readonly windows: BatchMaker<Batch>;
  private readonly batcher: WindowBatcher;
  private epoch = -1;
  private epochBatches: readonly ArrayLike<number>[] = [];

  constructor(windows: BatchMaker<Batch>, batcher: WindowBatcher) {
    this.windows = windows;
    this.batcher = batcher;
    this.perEpoch = batcher.perEpoch;
  }

  /**
   * Returns a batch of the run.
   *
   * @param number  number of the batch in the run, from 0
   */
  batch(number: number): Batch {
    const epoch = Math.floor(number / this.perEpoch);
    if (epoch !== this.epoch) {
      this.epochBatches = this.batcher.batches(epoch);
      this.epoch = epoch;
    }
    return this.windows.batch(this.epochBatches[number % this.perEpoch]!, number);
  }
}
