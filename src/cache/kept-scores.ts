import { MASKED_SCORE } from './masks.ts';
import { BLOCK_ROWS } from './score-graphs.ts';

/** All scores of a small table, kept from the pass that summed them up: none needs to be made again. */
export class KeptScores {
  /** f32[B, width]: of the whole blocks. */
  private readonly whole: Float32Array;
  private readonly width: number;
  /** f32[B, rest]: of the rows of the last block, where it is not whole. */
  private readonly tail: Float32Array;
  private readonly rest: number;

  constructor(B: number, whole: Float32Array, tail: Float32Array) {
    this.whole = whole;
    this.width = whole.length / B;
    this.tail = tail;
    this.rest = tail.length / B;
  }

  /** f32[128], a copy; `MASKED_SCORE` for slots that hold nothing. */
  block(query: number, block: number): Float32Array {
    const { width, rest } = this;
    const first = block * BLOCK_ROWS;
    if (first < width) {
      const start = query * width + first;
      return this.whole.slice(start, start + BLOCK_ROWS);
    }
    const scores = new Float32Array(BLOCK_ROWS).fill(MASKED_SCORE);
    scores.set(this.tail.subarray(query * rest, (query + 1) * rest));
    return scores;
  }
}
