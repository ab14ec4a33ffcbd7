import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UndriftError } from '../util/errors.ts';
import type { EmbeddingPairs } from './corrector.ts';

/**
 * Ring buffer of the latest pairs, in which new pairs replace the oldest. Memory is allocated with the first
 * pair.
 */
export class PairReservoir {
  private readonly capacity: number;
  private readonly dimension: number;
  private readonly toDimension: number;
  private stale = new Float32Array(0);
  private fresh = new Float32Array(0);
  private held = 0;
  /** Position of the next pair. */
  private next = 0;

  constructor(capacity: number, dimension: number, toDimension: number) {
    this.capacity = capacity;
    this.dimension = dimension;
    this.toDimension = toDimension;
  }

  /** Pairs held, f32[pairs, D] and f32[pairs, D'], in no particular order; views of the memory. */
  get pairs(): { readonly stale: HostTensor; readonly fresh: HostTensor } {
    const { held, dimension, toDimension } = this;
    return {
      stale: hostTensor('f32', [held, dimension], this.stale.subarray(0, held * dimension)),
      fresh: hostTensor('f32', [held, toDimension], this.fresh.subarray(0, held * toDimension)),
    };
  }

  /** Adds pairs; of more than `capacity` pairs, only the last are kept. */
  add({ stale, fresh }: EmbeddingPairs): void {
    const { capacity, dimension, toDimension } = this;
    this.allocate();
    const count = stale.length / dimension;
    for (let from = Math.max(0, count - capacity); from < count; ) {
      const rows = Math.min(count - from, capacity - this.next);
      this.stale.set(stale.subarray(from * dimension, (from + rows) * dimension), this.next * dimension);
      this.fresh.set(
        fresh.subarray(from * toDimension, (from + rows) * toDimension),
        this.next * toDimension,
      );
      this.held = Math.max(this.held, this.next + rows);
      this.next = (this.next + rows) % capacity;
      from += rows;
    }
  }

  /** Returns the pairs and the position of the next, for a checkpoint; empty if there are no pairs. */
  state(): Record<string, HostTensor> {
    if (this.held === 0) return {};
    return { ...this.pairs, next: hostTensor('i32', [1], Int32Array.of(this.next)) };
  }

  /**
   * Restores a state that `state` returned.
   *
   * @throws UndriftError for pairs of other sizes
   */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const { stale, fresh, next } = state;
    this.held = 0;
    this.next = 0;
    if (!stale || !fresh || !next) return;
    const [rows = 0] = stale.dims;
    const { dimension, toDimension, capacity } = this;
    if (
      rows > capacity ||
      stale.data.length !== rows * dimension ||
      fresh.data.length !== rows * toDimension
    ) {
      throw new UndriftError('the pairs of a corrector in the checkpoint have other sizes', {
        help: 'it was written by a run with other settings',
      });
    }
    this.allocate();
    this.stale.set(stale.data as Float32Array);
    this.fresh.set(fresh.data as Float32Array);
    this.held = rows;
    this.next = Number(next.data[0]);
  }

  private allocate(): void {
    if (this.stale.length > 0) return;
    this.stale = new Float32Array(this.capacity * this.dimension);
    this.fresh = new Float32Array(this.capacity * this.toDimension);
  }
}
