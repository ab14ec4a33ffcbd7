/**
 * Order of rows with equal scores: negative where row `a` comes before row `b`, as for `Array.prototype.sort`.
 * Two different rows are never equal in it.
 */
export type RowOrder = (a: number, b: number) => number;

/** Ascending rows, the order of ties where no other is given. */
const byRow: RowOrder = (a, b) => a - b;

/** Keeps the k best rows in a binary heap with the worst kept row at the root. */
export class RowHeap {
  readonly #k: number;
  readonly #ties: RowOrder;
  readonly #rows: Int32Array;
  readonly #scores: Float32Array;
  #size = 0;

  /**
   * @param k  rows to keep
   * @param ties  order of rows with equal scores; default ascending
   */
  constructor(k: number, ties: RowOrder = byRow) {
    this.#k = k;
    this.#ties = ties;
    this.#rows = new Int32Array(k);
    this.#scores = new Float32Array(k);
  }

  /** Score of the worst row in the heap. */
  get worstScore(): number {
    return this.#scores[0]!;
  }

  /**
   * Fills the heap with the best of some rows.
   *
   * @param scores  scores by row
   * @param candidates  rows, of which the first `count` count
   */
  fill(scores: Float32Array, candidates: Uint32Array, count: number): void {
    this.#size = 0;
    for (let c = 0; c < count; c++) {
      const row = candidates[c]!;
      this.offer(row, scores[row]!);
    }
  }

  /** Takes in a row if it is among the k best so far. A row must not be offered twice. */
  offer(row: number, score: number): void {
    const heapRows = this.#rows;
    const heapScores = this.#scores;
    if (this.#size === this.#k) {
      if (this.#isWorse(heapScores[0]!, heapRows[0]!, score, row)) this.#sink(score, row, this.#size);
      return;
    }
    let at = this.#size++;
    for (let parent: number; at > 0; at = parent) {
      parent = (at - 1) >> 1;
      if (!this.#isWorse(score, row, heapScores[parent]!, heapRows[parent]!)) break;
      heapScores[at] = heapScores[parent]!;
      heapRows[at] = heapRows[parent]!;
    }
    heapScores[at] = score;
    heapRows[at] = row;
  }

  /** Empties the heap and returns its rows, best first. */
  take(): { rows: Int32Array; scores: Float32Array } {
    const rows = new Int32Array(this.#size);
    const scores = new Float32Array(this.#size);
    for (let at = this.#size - 1; at >= 0; at--) {
      rows[at] = this.#rows[0]!;
      scores[at] = this.#scores[0]!;
      this.#sink(this.#scores[at]!, this.#rows[at]!, at);
    }
    return { rows, scores };
  }

  /** Replaces the root of a heap of `size` entries and restores the heap order. */
  #sink(score: number, row: number, size: number): void {
    const rows = this.#rows;
    const scores = this.#scores;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      const right = child + 1;
      if (right < size && this.#isWorse(scores[right]!, rows[right]!, scores[child]!, rows[child]!))
        child = right;
      if (!this.#isWorse(scores[child]!, rows[child]!, score, row)) break;
      scores[at] = scores[child]!;
      rows[at] = rows[child]!;
      at = child;
    }
    scores[at] = score;
    rows[at] = row;
  }

  #isWorse(scoreA: number, rowA: number, scoreB: number, rowB: number): boolean {
    return scoreA < scoreB || (scoreA === scoreB && this.#ties(rowA, rowB) > 0);
  }
}
