import type { UndriftError } from '../util/errors.ts';
import { scoreOverflow } from './best-rows.ts';
import { kthLargest, numberOfKey, orderKey } from './kth-largest.ts';

/** Scores of B queries with the rows of a block. */
export interface BlockScores {
  /** First row of the block. */
  readonly start: number;
  /** Number of rows of the block. */
  readonly count: number;
  /** f32[B, count]: scores of the rows. The array may be longer. */
  readonly scores: Float32Array;
  /** Number of consecutive rows that share an entry of `maxima`; a divisor of `count`. */
  readonly group: number;
  /** f32[B, count / group]: largest score of each group. The array may be longer. */
  readonly maxima: Float32Array;
  /** f32[B]: sums of the scores. A sum is NaN if one of its scores is. */
  readonly sums: Float32Array;
}

/** Number of rows for which there is room, in multiples of k. */
const ROOM = 2;
/** Number of gathered rows, in multiples of k, at which the k best are selected at the end of a block, to raise the bound. */
const AGED = 1.5;

/**
 * Collects the k best rows of one query from all scores of a block.
 *
 * Once k rows are found, nearly all scores are below the worst of them. A group of rows whose largest score is below it costs one
 * comparison. Rows above it are gathered. Whenever their place is used up, the k best of them are selected, in linear time. For large k
 * this is faster than a top-k of every block, which finds k rows anew each time.
 */
export class ScannedRows {
  private readonly k: number;
  /** Gathered rows, ascending. */
  private readonly rows: Uint32Array;
  /** Scores of the gathered rows. */
  private readonly scores: Float32Array;
  private readonly notANumber: () => UndriftError;
  /** Number below the score of every row that can still be among the k best. */
  private worst = Number.NEGATIVE_INFINITY;
  private count = 0;

  constructor(k: number, notANumber: () => UndriftError = scoreOverflow) {
    this.k = k;
    this.rows = new Uint32Array(ROOM * k);
    this.scores = new Float32Array(ROOM * k);
    this.notANumber = notANumber;
  }

  /**
   * Takes in the rows of a block; blocks come in ascending order. Rows of the score −∞ are left out. Among equal scores, earlier rows
   * come first.
   *
   * @param query  number of this query among those of the block
   * @param first  number of the first row of the block that counts
   * @throws UndriftError where a score is not a number
   */
  scan(block: BlockScores, query: number, first: number): void {
    const { start, count: size, scores, group, maxima } = block;
    const [from, firstGroup] = [query * size, Math.floor((query * size + first) / group)];
    const [end, endGroup] = [from + size, (from + size) / group];
    // Infinite scores of both signs give a sum of NaN too.
    if (Number.isNaN(block.sums[query]) && scores.subarray(from, end).some(Number.isNaN))
      throw this.notANumber();
    if (this.worst === Number.NEGATIVE_INFINITY)
      this.bound(maxima.subarray(Math.ceil((from + first) / group), endGroup));
    const { k, rows, scores: gathered } = this;
    let { worst, count } = this;
    for (let g = firstGroup; g < endGroup; g++) {
      if (maxima[g]! <= worst) continue;
      const last = (g + 1) * group;
      for (let i = Math.max(from + first, g * group); i < last; i++) {
        const score = scores[i]!;
        if (score <= worst) continue;
        if (count === rows.length) {
          worst = this.select(count);
          count = k;
          if (score <= worst) continue;
        }
        rows[count] = start + i - from;
        // −0 becomes 0, which is the same score.
        gathered[count++] = score + 0;
      }
    }
    if (count >= AGED * k) {
      worst = this.select(count);
      count = k;
    }
    this.worst = worst;
    this.count = count;
  }

  /** Writes the rows found, best first, and their scores. The rest of the arrays is left as it is. */
  write(rows: Int32Array, scores: Float32Array): void {
    if (this.count > this.k) {
      this.select(this.count);
      this.count = this.k;
    }
    // One u64 for each row, whose order is that of the results. Its words are row and order key, on a little-endian machine.
    const order = new BigUint64Array(this.count);
    const words = new Uint32Array(order.buffer);
    const bits = new Int32Array(this.scores.buffer);
    for (let i = 0; i < this.count; i++) {
      words[2 * i] = this.rows[i]!;
      words[2 * i + 1] = orderKey(bits[i]!);
    }
    order.sort();
    for (let i = 0; i < this.count; i++) {
      rows[i] = words[2 * i]!;
      scores[i] = numberOfKey(words[2 * i + 1]!);
    }
  }

  /** Finds a first bound: k groups have rows of their own, so the k best rows are at least as good as the k-th best group. */
  private bound(maxima: Float32Array): void {
    if (maxima.length < this.k) return;
    const least = kthLargest(maxima, this.k);
    // Rows that equal the bound still count.
    if (Number.isFinite(least)) this.worst = least - Math.abs(least) * 2 ** -40 - Number.MIN_VALUE;
  }

  /**
   * Keeps the k best of the gathered rows, in their order.
   *
   * @param count  number of rows gathered, > k
   * @returns score of the worst of them
   */
  private select(count: number): number {
    const { k, rows, scores } = this;
    const worst = kthLargest(scores, k, count);
    let at = 0;
    // Every row is written, and the next one overwrites it where it is not kept: a branch would often be guessed wrong.
    for (let i = 0; i < count; i++) {
      const score = scores[i]!;
      rows[at] = rows[i]!;
      scores[at] = score;
      at += Number(score >= worst);
    }
    if (at > k) this.cutTies(at, worst);
    return worst;
  }

  /** Drops the last ones of the rows that are as good as the worst, until there are k. */
  private cutTies(count: number, worst: number): void {
    const { k, rows, scores } = this;
    let kept = k;
    for (let i = 0; i < count; i++) kept -= Number(scores[i]! > worst);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const score = scores[i]!;
      if (score === worst && kept-- <= 0) continue;
      rows[at] = rows[i]!;
      scores[at++] = score;
    }
  }
}
