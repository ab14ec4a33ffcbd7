import { UsageError } from '../util/errors.ts';
import type { TokenStore } from './token-store.ts';

/** Settings of {@link padBatch}. */
export interface PadBatchOptions {
  /** Id of the padding token. */
  padId: number;
  /** Round the length T up to a multiple of this number of tokens. Default 1. */
  multipleOf?: number;
  /**
   * Buffers to write to, which grow as needed. A batch is valid until the next one is written to the same
   * buffers. Default: new buffers.
   */
  buffers?: BatchBuffers;
}

/** Batch of texts padded to one length, row by row. */
export interface PaddedBatch {
  /** Token ids, int32 [B, T], filled up with the padding id. */
  ids: Int32Array;
  /** 1 for a token, 0 for padding, float32 [B, T]. */
  mask: Float32Array;
  /** Number of texts B. */
  batch: number;
  /** Length T in tokens: that of the longest text, rounded up, at least 1. */
  tokens: number;
}

/** Memory for padded batches, reused from step to step. */
export class BatchBuffers {
  #ids = new Int32Array(0);
  #mask = new Float32Array(0);

  /** Returns views of `size` elements each, into memory that later calls overwrite. */
  take(size: number): { ids: Int32Array; mask: Float32Array } {
    if (size > this.#ids.length) {
      this.#ids = new Int32Array(size);
      this.#mask = new Float32Array(size);
    }
    return { ids: this.#ids.subarray(0, size), mask: this.#mask.subarray(0, size) };
  }
}

/** Pads token sequences at the end with token 0 to the longest of them, at least to one token. */
export function padSequences(sequences: readonly ArrayLike<number>[]): PaddedBatch {
  const tokens = sequences.reduce((most, { length }) => Math.max(most, length), 1);
  const batch = sequences.length;
  const [ids, mask] = [new Int32Array(batch * tokens), new Float32Array(batch * tokens)];
  for (const [row, sequence] of sequences.entries()) {
    ids.set(sequence, row * tokens);
    mask.fill(1, row * tokens, row * tokens + sequence.length);
  }
  return { ids, mask, batch, tokens };
}

/**
 * Lays the texts `rows` of a store side by side, padded at the end to the longest of them.
 *
 * @throws UsageError when `multipleOf` is not a whole number ≥ 1
 */
export function padBatch(store: TokenStore, rows: ArrayLike<number>, options: PadBatchOptions): PaddedBatch {
  const { padId, multipleOf = 1, buffers = new BatchBuffers() } = options;
  if (!Number.isInteger(multipleOf) || multipleOf < 1) {
    throw new UsageError(`multipleOf must be a whole number ≥ 1, found ${multipleOf}`);
  }
  const B = rows.length;
  let longest = 1;
  for (let b = 0; b < B; b++) longest = Math.max(longest, store.length(rows[b]!));
  const T = Math.ceil(longest / multipleOf) * multipleOf;
  const { ids, mask } = buffers.take(B * T);
  for (let b = 0; b < B; b++) {
    const tokens = store.tokens(rows[b]!);
    const start = b * T;
    const end = start + tokens.length;
    ids.set(tokens, start);
    ids.fill(padId, end, start + T);
    mask.fill(1, start, end);
    mask.fill(0, end, start + T);
  }
  return { ids, mask, batch: B, tokens: T };
}
