import type { UndriftError } from '../util/errors.ts';
import { scoreOverflow } from './best-rows.ts';

/** Scores of one query with the rows of a block. */
export interface BlockScores {
  /** f32[count]: scores of the rows. */
  readonly scores: Float32Array;
  /** f32[count / group]: largest score of each group of consecutive rows. */
  readonly maxima: Float32Array;
  /** Sum of the scores, which is NaN if one of them is. */
  readonly sum: number;
}

/**
 * Collects the k best rows of one query from all scores of a block.
 *
 * Once k rows are found, nearly all scores are below the worst of them. A group of rows whose largest score is below it costs one
 * comparison. Rows above it are gathered, and sorted whenever the place is used up. For large k this is faster than a top-k of every
 * block, which finds k rows anew each time.
 *
 * A gathered row is one u64, whose order is that of the results: the bits of the score, turned so that larger scores come first, before
 * the row.
 */
export class ScannedRows {
  private readonly k: number;
  private readonly gathered: BigUint64Array;
  /** Memory of `gathered` as words: row and turned score of each, which is the order of a little-endian machine. */
  private readonly words: Uint32Array;
  private readonly notANumber: () => UndriftError;
  private worst = Number.NEGATIVE_INFINITY;
  private count = 0;

  constructor(k: number, notANumber: () => UndriftError = scoreOverflow) {
    this.k = k;
    this.gathered = new BigUint64Array(3 * k);
    this.words = new Uint32Array(this.gathered.buffer);
    this.notANumber = notANumber;
  }

  /**
   * Takes in the rows of a block; blocks come in ascending order. Rows of the score −∞ are left out. Among equal scores, earlier rows
   * come first.
   *
   * @param block  scores, of which those from `first` on count
   * @param start  row of the first score
   * @throws UndriftError where a score is not a number
   */
  scan({ scores, maxima, sum }: BlockScores, first: number, start: number): void {
    // Infinite scores of both signs give a sum of NaN too.
    if (Number.isNaN(sum) && scores.some(Number.isNaN)) throw this.notANumber();
    const bits = new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
    const group = scores.length / maxima.length;
    const { words } = this;
    let { worst, count } = this;
    for (let g = Math.floor(first / group); g < maxima.length; g++) {
      if (maxima[g]! <= worst) continue;
      const end = (g + 1) * group;
      for (let i = Math.max(first, g * group); i < end; i++) {
        if (scores[i]! <= worst) continue;
        words[2 * count] = start + i;
        words[2 * count + 1] = turned(bits[i]!);
        if (2 * ++count < words.length) continue;
        this.gathered.sort();
        count = this.k;
        worst = scoreOf(words[2 * count - 1]!);
      }
    }
    this.worst = worst;
    this.count = count;
  }

  /** Writes the rows found, best first, and their scores. The rest of the arrays is left as it is. */
  write(rows: Int32Array, scores: Float32Array): void {
    this.gathered.subarray(0, this.count).sort();
    for (let i = 0; i < Math.min(this.k, this.count); i++) {
      rows[i] = this.words[2 * i]!;
      scores[i] = scoreOf(this.words[2 * i + 1]!);
    }
  }
}

/** Turns the bits of an f32 into a whole number that is smaller for larger numbers: −0 comes after 0. */
const turned = (bits: number): number => (bits >>> 31 === 1 ? bits : ~bits & 0x7fffffff) >>> 0;

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Returns the score of turned bits. */
function scoreOf(word: number): number {
  singleBits[0] = turned(word);
  return single[0]!;
}
