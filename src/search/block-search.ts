import { Graph } from '../graph/graph.ts';
import { matmul, topK } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, int32Words } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { RowHeap, type RowOrder } from '../text/row-heap.ts';
import { ShapeError, UndriftError } from '../util/errors.ts';
import { type BestRows, bestRowsOf } from './best-rows.ts';
import type { SearchOptions, SearchResult } from './search-index.ts';

/** Settings of a {@link BlockSearch}. */
export interface BlockSearchOptions extends ComputeOptions {
  /** Rows scored at once, ≥ 1. Default 32,768. */
  readonly blockRows?: number | undefined;
}

/** Rows scored at once. With 64 queries, a block of scores takes 8 MiB. Larger ones leave the processor's cache. */
export const BLOCK_ROWS = 32_768;
/** Queries scored at once. More make the matrix product no faster, and push the scores out of the processor's cache. */
const QUERY_ROWS = 64;

/**
 * Search over the rows of matrices, which may differ from call to call; the compiled programs serve all of them. See `ExactIndex`
 * for how scores are computed.
 */
export class BlockSearch {
  /** Size of a row, D. */
  readonly dimension: number;
  private readonly blockRows: number;
  /** Programs by the k of a block, which is fixed in a program. */
  private readonly programs: ProgramCache;

  constructor(dimension: number, { blockRows = BLOCK_ROWS, ...compute }: BlockSearchOptions = {}) {
    this.dimension = dimension;
    this.blockRows = blockRows;
    this.programs = new ProgramCache(compute);
  }

  /**
   * Finds the best rows of a matrix for each query.
   *
   * @param rows  f32[N, D], row-major; must not change before the search is done
   * @param queries  f32[B, D], row-major
   * @param topK  rows for each query; N of them where the matrix has fewer
   * @throws ShapeError for queries of another dimension
   * @throws UndriftError for a query that is not finite
   */
  async search(
    rows: Float32Array,
    queries: Float32Array,
    topK: number,
    { ties, onProgress }: Pick<SearchOptions, 'ties' | 'onProgress'> = {},
  ): Promise<SearchResult> {
    const D = this.dimension;
    checkRows('the queries', queries, D);
    const B = queries.length / D;
    const k = Math.min(topK, rows.length / D);
    const found = { rows: new Int32Array(B * k), scores: new Float32Array(B * k), k };
    const best = bestRowsOf(found);
    for (let start = 0; start < B && k > 0; start += QUERY_ROWS) {
      const end = Math.min(B, start + QUERY_ROWS);
      const batch = matrix(queries.subarray(start * D, end * D), D);
      if (ties === undefined) await this.searchBatch(rows, batch, best.slice(start, end), k);
      else await this.searchWithTies(rows, batch, ties, { found, start });
      onProgress?.({ stage: 'search', done: end, total: B, unit: 'queries' });
    }
    return found;
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  /**
   * Searches with another order of ties than that by row.
   *
   * The runtime's top-k knows only the order by row. One row more than asked for shows whether the cut goes through a tie. If
   * it does, all scores of the batch are computed again and the rows are picked here.
   */
  private async searchWithTies(
    matrixRows: Float32Array,
    batch: HostTensor,
    ties: RowOrder,
    { found, start }: { found: SearchResult; start: number },
  ): Promise<void> {
    const { k } = found;
    const count = batch.dims[0]!;
    const wide = Math.min(k + 1, matrixRows.length / this.dimension);
    const more = { rows: new Int32Array(count * wide), scores: new Float32Array(count * wide), k: wide };
    await this.searchBatch(matrixRows, batch, bestRowsOf(more), wide);
    const heaps = new Map<number, RowHeap>();
    for (let b = 0; b < count; b++) {
      const own = more.scores.subarray(b * wide, (b + 1) * wide);
      if (wide > k && own[k] === own[k - 1]) heaps.set(b, new RowHeap(k, ties));
    }
    if (heaps.size > 0) await this.offerAll(matrixRows, batch, heaps);
    for (let b = 0; b < count; b++) {
      const heap = heaps.get(b) ?? new RowHeap(k, ties);
      if (!heaps.has(b))
        for (let i = 0; i < k; i++) heap.offer(more.rows[b * wide + i]!, more.scores[b * wide + i]!);
      const best = heap.take();
      found.rows.set(best.rows, (start + b) * k);
      found.scores.set(best.scores, (start + b) * k);
    }
  }

  /** Offers the scores of all rows for some queries of a batch, by their place in it. */
  private async offerAll(
    rows: Float32Array,
    queries: HostTensor,
    heaps: ReadonlyMap<number, RowHeap>,
  ): Promise<void> {
    const program = await this.programs.get('exact-scores', () => this.graph());
    for (const { seen, start, count, block } of this.blocks(rows)) {
      const { scores } = await program.run({ queries, block });
      const values = float32(scores, 'scores');
      for (const [b, heap] of heaps) {
        for (let row = seen; row < start + count; row++) heap.offer(row, values[b * count + row - start]!);
      }
    }
  }

  private async searchBatch(
    rows: Float32Array,
    queries: HostTensor,
    best: readonly BestRows[],
    k: number,
  ): Promise<void> {
    const blockK = Math.min(k, this.blockRows);
    const program = await this.programs.get(`exact-search-${blockK}`, () => this.graph(blockK));
    for (const { seen, start, block } of this.blocks(rows)) {
      const { scores, positions } = await program.run({ queries, block });
      const values = float32(scores, 'scores');
      const words = int32Words(positions!.data as BigInt64Array);
      for (const [b, list] of best.entries()) {
        list.merge(values.subarray(b * blockK, (b + 1) * blockK), (i) => {
          const row = start + words[2 * (b * blockK + i)]!;
          return row < seen ? undefined : row;
        });
      }
    }
  }

  /**
   * Divides a matrix into blocks of one size, so that each has k rows; the last one therefore begins inside the one before it. A row
   * among the k best of all is among the k best of each block that holds it, so none is lost. Rows before `seen` were in an earlier
   * block.
   */
  private *blocks(rows: Float32Array) {
    const D = this.dimension;
    const size = rows.length / D;
    const count = Math.min(size, this.blockRows);
    for (let seen = 0; seen < size; seen += count) {
      const start = Math.min(seen, size - count);
      yield { seen, start, count, block: matrix(rows.subarray(start * D, (start + count) * D), D) };
    }
  }

  /** Graph of one block: its k best scores with their positions, or all scores where k is not given. */
  private graph(k?: number): Graph {
    const graph = new Graph(k === undefined ? 'exact-scores' : `exact-search-${k}`);
    const queries = graph.input('queries', 'f32', ['queries', this.dimension]);
    const block = graph.input('block', 'f32', ['rows', this.dimension]);
    const products = matmul(queries, block, { transB: true });
    if (k === undefined) {
      graph.output('scores', products);
      return graph;
    }
    const best = topK(products, { k });
    graph.output('scores', best.values);
    graph.output('positions', best.indices);
    return graph;
  }
}

/** Views numbers as a tensor; `checkRows` has made sure that their memory is not shared. */
const matrix = (values: Float32Array, dimension: number): HostTensor =>
  hostTensor('f32', [values.length / dimension, dimension], values as Float32Array<ArrayBuffer>);

/** Checks that an array holds whole rows of finite numbers, in memory that the runtime accepts. */
export function checkRows(what: string, values: Float32Array, dimension: number): void {
  if (!Number.isInteger(dimension) || dimension < 1) {
    throw new ShapeError(`the dimension must be a whole number ≥ 1, found ${dimension}`);
  }
  if (values.length % dimension !== 0) {
    throw new ShapeError(
      `${what}: ${values.length} numbers are no whole number of rows of dimension ${dimension}`,
    );
  }
  if (!(values.buffer instanceof ArrayBuffer)) {
    throw new ShapeError(`${what}: the runtime takes no memory that is shared between threads`, {
      help: 'copy it: new Float32Array(array)',
    });
  }
  // 0 · x is 0 for every finite x: one pass without a branch.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  if (sum === 0) return;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  throw new UndriftError(
    `${what}: row ${Math.floor(bad / dimension)} holds ${values[bad]} at position ${bad % dimension}`,
    { help: 'the model that made it has diverged, or the file is damaged' },
  );
}
