import { RowHeap } from '../text/row-heap.ts';
import type { UndriftError } from '../util/errors.ts';
import { scoreOverflow } from './best-rows.ts';

/**
 * Collects the k best rows of one query from all scores of a block.
 *
 * Once k rows are found, nearly all scores are below the worst of them, so that a scan costs one comparison each. For large k this is
 * faster than a top-k of every block, which finds k rows anew each time.
 */
export class ScannedRows {
  private readonly k: number;
  private readonly heap: RowHeap;
  private readonly notANumber: () => UndriftError;
  private worst = Number.NEGATIVE_INFINITY;
  private count = 0;

  constructor(k: number, notANumber: () => UndriftError = scoreOverflow) {
    this.k = k;
    this.heap = new RowHeap(k);
    this.notANumber = notANumber;
  }

  /**
   * Takes in rows in ascending order. Rows of the score −∞ are left out. Among equal scores, earlier rows come first.
   *
   * @param scores  scores, of which those from `start` to `end` count
   * @param firstRow  row of the score at `start`
   * @throws UndriftError where a score is not a number
   */
  scan(scores: Float32Array, { start, end }: { start: number; end: number }, firstRow: number): void {
    const { heap, k } = this;
    let { worst } = this;
    for (let i = start; i < end; i++) {
      const score = scores[i]!;
      if (score <= worst) continue;
      if (Number.isNaN(score)) throw this.notANumber();
      heap.offer(firstRow + i - start, score);
      if (++this.count >= k) worst = heap.worstScore;
    }
    this.worst = worst;
  }

  /** Writes the rows found, best first, and their scores. The rest of the arrays is left as it is. */
  write(rows: Int32Array, scores: Float32Array): void {
    const found = this.heap.take();
    rows.set(found.rows);
    scores.set(found.scores);
  }
}
