import type { ChunkDatabase } from '../../rlm/chunk-database.ts';
import { type NeighbourLists, NO_NEIGHBOUR } from '../../rlm/chunk-neighbours.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import type { BatchSource } from '../loop.ts';

/** Batch of windows with the neighbours of their chunks. */
export interface RetroBatch {
  /** Token ids, [B × T], padded at the end with token 0. */
  readonly ids: Int32Array;
  /** Mask, [B × T]: 1 for tokens, 0 for padding. */
  readonly mask: Float32Array;
  /** Windows, B. */
  readonly batch: number;
  /** Padded length T ≥ m, in tokens. */
  readonly tokens: number;
  /** Complete chunks of the padded length, l = ⌊T / m⌋. */
  readonly chunks: number;
  /** Rows of the neighbours, i32[B, l, k], `NO_NEIGHBOUR` for none. */
  readonly neighbours: Int32Array;
}

/** Window of a document: tokens `start` … `start + length − 1`. */
interface Window {
  readonly document: number;
  readonly start: number;
  readonly length: number;
}

/**
 * Windows over the documents of a corpus, for training with neighbours. A document is cut into windows of n tokens that begin where chunks
 * begin, so that the chunks of a window are chunks of the corpus, whose neighbours are known. A window of at most m tokens is left out:
 * it has no token that reads a neighbour.
 *
 * Every epoch visits each window once, in an order that depends on the seed and the epoch alone.
 */
export class RetroWindows implements BatchSource<RetroBatch> {
  readonly perEpoch: number;
  /** Number of windows. */
  readonly count: number;
  private readonly chunks: ChunkDatabase;
  private readonly neighbours: NeighbourLists;
  private readonly windows: readonly Window[];
  private readonly batchSize: number;
  private readonly seed: number;

  /**
   * @param neighbours neighbours of every chunk of the corpus
   * @param options.window tokens of a window, n; a multiple of m
   */
  constructor(
    chunks: ChunkDatabase,
    neighbours: NeighbourLists,
    { window, batchSize, seed }: { window: number; batchSize: number; seed: number },
  ) {
    this.chunks = chunks;
    this.neighbours = neighbours;
    this.batchSize = batchSize;
    this.seed = seed;
    const { lengths } = chunks.corpus.tokens;
    const windows: Window[] = [];
    for (let document = 0; document < lengths.length; document++) {
      for (let start = 0; start + chunks.chunkTokens < lengths[document]!; start += window)
        windows.push({ document, start, length: Math.min(window, lengths[document]! - start) });
    }
    this.windows = windows;
    this.count = windows.length;
    this.perEpoch = Math.ceil(windows.length / batchSize);
  }

  /** Neighbours of a chunk, k. */
  get k(): number {
    return this.neighbours.k;
  }

  batch(number: number): RetroBatch {
    const epoch = Math.floor(number / this.perEpoch);
    const order = permutation(rngKey(this.seed, epoch, 'windows'), this.count);
    const start = (number % this.perEpoch) * this.batchSize;
    const picked = Array.from(order.subarray(start, start + this.batchSize), (i) => this.windows[i]!);
    const { chunkTokens: m } = this.chunks;
    const { k } = this.neighbours;
    const tokens = Math.max(...picked.map(({ length }) => length));
    const chunks = Math.floor(tokens / m);
    const ids = new Int32Array(picked.length * tokens);
    const mask = new Float32Array(ids.length);
    const neighbours = new Int32Array(picked.length * chunks * k).fill(NO_NEIGHBOUR);
    for (const [row, { document, start, length }] of picked.entries()) {
      ids.set(this.chunks.corpus.tokens.tokens(document, start, start + length), row * tokens);
      mask.fill(1, row * tokens, row * tokens + length);
      const first = this.chunks.first(document) + start / m;
      const complete = Math.floor(length / m);
      neighbours.set(this.neighbours.rows.subarray(first * k, (first + complete) * k), row * chunks * k);
    }
    return { ids, mask, batch: picked.length, tokens, chunks, neighbours };
  }
}
