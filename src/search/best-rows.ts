import { UndriftError } from '../util/errors.ts';

/** Collects the k best rows of one query, best first, in arrays that the caller owns. */
export class BestRows {
  private readonly rows: Int32Array;
  private readonly scores: Float32Array;
  private readonly notANumber: () => UndriftError;
  private count = 0;

  /**
   * @param rows  i32[k], written to: rows of the index. Places without a row keep their value.
   * @param scores  f32[k], written to: scores of these rows, descending
   * @param notANumber  makes the error for a score that is not a number
   */
  constructor(rows: Int32Array, scores: Float32Array, notANumber: () => UndriftError = scoreOverflow) {
    this.rows = rows;
    this.scores = scores;
    this.notANumber = notANumber;
  }

  /**
   * Merges the best rows of a block. Among equal scores, rows of earlier blocks come first; rows of one block keep their order.
   *
   * @param blockScores  f32[n], descending
   * @param rowOf  row of the i-th score; undefined for a row that an earlier block has contributed already
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

/**
 * Makes one `BestRows` for each of B queries. All of them write to the same two arrays.
 *
 * @param of.rows  i32[B, k], written to
 * @param of.scores  f32[B, k], written to
 * @param of.k  rows of each query
 */
export function bestRowsOf(
  { rows, scores, k }: { rows: Int32Array; scores: Float32Array; k: number },
  options: { notANumber?: () => UndriftError } = {},
): BestRows[] {
  return Array.from({ length: rows.length / k }, (_, b) => {
    const [start, end] = [b * k, (b + 1) * k];
    return new BestRows(rows.subarray(start, end), scores.subarray(start, end), options.notANumber);
  });
}

/** Makes the error of a score that is not a number. */
export const scoreOverflow = (): UndriftError =>
  new UndriftError('a score is not a number: the product of a query and an embedding overflows', {
    help: 'normalise the embeddings, or look for values beyond 1e18',
  });
