import { UndriftError } from '../util/errors.ts';

/** The k best rows of one query so far, best first, in arrays of the caller's. */
export class BestRows {
  private readonly rows: Int32Array;
  private readonly scores: Float32Array;
  private readonly notANumber: () => UndriftError;
  private count = 0;

  /**
   * @param rows, scores  i32[k] and f32[k] to write to; places for which there is no row keep what they hold
   * @param notANumber  error for a score that is not a number
   */
  constructor(rows: Int32Array, scores: Float32Array, notANumber: () => UndriftError = overflow) {
    this.rows = rows;
    this.scores = scores;
    this.notANumber = notANumber;
  }

  /**
   * Merges the best of a block of rows. Of equal scores the rows of earlier blocks come first, and within a block the order given.
   *
   * @param blockScores  descending
   * @param rowOf  row of the i-th of them; undefined for one that an earlier block has had
   * @throws UndriftError where a score is not a number
   */
  merge(blockScores: Float32Array, rowOf: (i: number) => number | undefined): void {
    const { rows, scores, count } = this;
    const k = rows.length;
    if (Number.isNaN(blockScores[0])) throw this.notANumber();
    if (count === k && blockScores[0]! <= scores[k - 1]!) return;
    const before = { rows: rows.slice(0, count), scores: scores.slice(0, count) };
    let [at, old, i] = [0, 0, 0];
    while (at < k && (old < count || i < blockScores.length)) {
      if (i === blockScores.length || (old < count && before.scores[old]! >= blockScores[i]!)) {
        rows[at] = before.rows[old]!;
        scores[at++] = before.scores[old++]!;
        continue;
      }
      const row = rowOf(i);
      const score = blockScores[i++]!;
      if (Number.isNaN(score)) throw this.notANumber();
      if (row === undefined) continue;
      rows[at] = row;
      scores[at++] = score;
    }
    this.count = at;
  }
}

/** A list for each of B queries, over arrays that they share: i32[B, k] and f32[B, k]. */
export function bestRowsOf(
  { rows, scores, k }: { rows: Int32Array; scores: Float32Array; k: number },
  options: { notANumber?: () => UndriftError } = {},
): BestRows[] {
  return Array.from({ length: rows.length / k }, (_, b) => {
    const [start, end] = [b * k, (b + 1) * k];
    return new BestRows(rows.subarray(start, end), scores.subarray(start, end), options.notANumber);
  });
}

const overflow = () =>
  new UndriftError('a score is not a number: the product of a query and an embedding overflows', {
    help: 'normalise the embeddings, or look for values beyond 1e18',
  });
