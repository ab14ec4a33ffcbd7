import { MASKED_SCORE } from '../nn/masked-score.ts';
import { BLOCK_ROWS } from './score-graphs.ts';

/** All scores of a small table, kept from the pass that summed them, so that none has to be computed again. */
export class KeptScores {
  /** f32[B, width]: scores of the complete blocks. */
  private readonly whole: Float32Array;
  private readonly width: number;
  /** f32[B, rest]: scores of the last block's rows, if that block is incomplete. */
  private readonly tail: Float32Array;
  private readonly rest: number;

  constructor(B: number, whole: Float32Array, tail: Float32Array) {
    this.whole = whole;
    this.width = whole.length / B;
    this.tail = tail;
    this.rest = tail.length / B;
  }

  /** Copies the scores of one block for one query, f32[128]; empty slots have `MASKED_SCORE`. */
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
