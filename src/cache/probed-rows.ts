import { MASKED_SCORE } from '../nn/masked-score.ts';
import { float32, type HostTensor, hostTensor, int64Tensor } from '../runtime/host-tensor.ts';
import { NONE } from '../util/vector-rows.ts';
import { pageScoresGraph } from './cell-graphs.ts';
import type { CellIndex } from './cell-index.ts';
import { type CellPages, PAGE_ROWS } from './cell-pages.ts';
import { cumulate, findAbove, logSumExp } from './weights.ts';

/** Numbers of embeddings gathered at once: 4 MiB, which stay in the processor's caches until they are scored. */
const GATHERED_NUMBERS = 2 ** 20;

/** Page of a cell with its scores for one query. */
interface ScoredPage {
  readonly page: number;
  /** f32[64]; `MASKED_SCORE` past the end of the cell, and for removed slots. */
  readonly scores: Float32Array;
}

/**
 * Rows of the cells that each of B queries probes, with their scores. All of these rows are scored, so that the
 * softmax over them is exact.
 *
 * Memory: 4 bytes a scored row.
 */
export class ProbedRows {
  /** Number of scores computed. */
  scored = 0;
  private readonly index: CellIndex;
  private readonly pages: CellPages;
  private readonly queries: HostTensor;
  private readonly pagesOf: ScoredPage[][];
  /** Log-sum-exps of the pages of each query. */
  private readonly sums: number[][];
  /** Position of the first page of each probed cell, by query. */
  private readonly firstOf: Map<number, number>[];

  /** @param queries  f32[B, D], multiplied by 1/τ */
  constructor(index: CellIndex, queries: HostTensor) {
    const B = queries.dims[0]!;
    this.index = index;
    this.pages = index.cells!.pages;
    this.queries = queries;
    this.pagesOf = Array.from({ length: B }, () => []);
    this.sums = Array.from({ length: B }, () => []);
    this.firstOf = Array.from({ length: B }, () => new Map<number, number>());
  }

  /** Scores further cells, each for one query. */
  async add(probes: readonly { readonly b: number; readonly cell: number }[]): Promise<void> {
    const { pages, index, queries } = this;
    const { table } = index;
    const planned = this.pagesOf.map(({ length }) => length);
    const pairs: { b: number; page: number; length: number }[] = [];
    for (const { b, cell } of probes) {
      const size = pages.size(cell);
      this.firstOf[b]!.set(cell, planned[b]!);
      for (const [i, page] of pages.pagesIn(cell).entries())
        pairs.push({ b, page, length: Math.min(PAGE_ROWS, size - i * PAGE_ROWS) });
      planned[b]! += pages.pagesIn(cell).length;
    }
    const program = await index.program('page-scores', pageScoresGraph);
    const slots = hostTensor('i64', [pages.slots.length / PAGE_ROWS, PAGE_ROWS], pages.slots);
    const embeddings = table.block(0, table.rows);
    const atOnce = Math.max(1, Math.floor(GATHERED_NUMBERS / (PAGE_ROWS * table.dimension)));
    for (let start = 0; start < pairs.length; start += atOnce) {
      const own = pairs.slice(start, start + atOnce);
      const made = await program.run({
        queries,
        table: embeddings,
        slots,
        page: int64Tensor(own.map(({ page }) => page)),
        queryOf: int64Tensor(own.map(({ b }) => b)),
        lengths: int64Tensor(own.map(({ length }) => length)),
      });
      const [scores, sums] = [float32(made.scores), float32(made.sums)];
      for (const [i, { b, page }] of own.entries()) {
        this.pagesOf[b]!.push({ page, scores: scores.subarray(i * PAGE_ROWS, (i + 1) * PAGE_ROWS) });
        this.sums[b]!.push(sums[i]!);
      }
    }
    this.scored += pairs.length * PAGE_ROWS;
  }

  /** Whether a query probes the cell of a slot. */
  has(b: number, slot: number): boolean {
    return this.firstOf[b]!.has(this.pages.cellOf[slot]!);
  }

  /** Computes the log-sum-exp of the scores of a query's rows; −∞ if there are none. */
  logSum(b: number): number {
    return logSumExp(Float32Array.from(this.sums[b]!));
  }

  /** Removes a slot from the rows of a query, if it is among them. */
  remove(b: number, slot: number): void {
    const first = this.firstOf[b]!.get(this.pages.cellOf[slot]!);
    if (first === undefined) return;
    const place = this.pages.placeOf[slot]!;
    const at = first + Math.floor(place / PAGE_ROWS);
    const { scores } = this.pagesOf[b]![at]!;
    scores[place % PAGE_ROWS] = MASKED_SCORE;
    this.sums[b]![at] = logSumExp(scores);
  }

  /**
   * Draws a slot from the softmax over the rows of a query, by two numbers of [0, 1).
   *
   * @returns  `NONE` if no row is left
   */
  draw(b: number, first: number, second: number): { slot: number; score: number } {
    const over = cumulative(Float32Array.from(this.sums[b]!));
    if (!over) return { slot: NONE, score: MASKED_SCORE };
    const { page, scores } = this.pagesOf[b]![findAbove(over, first * over.at(-1)!)]!;
    const inside = cumulative(scores)!;
    const position = findAbove(inside, second * inside.at(-1)!);
    return { slot: this.pages.slotAt(page, position), score: scores[position]! };
  }
}

function cumulative(values: Float32Array): Float64Array | undefined {
  const over = new Float64Array(values.length);
  return values.length > 0 && cumulate(values, over) > 0 ? over : undefined;
}
