import type { Dim } from '../graph/dims.ts';
import { Graph } from '../graph/graph.ts';
import { add, matmul, max, reshape, sum, topK } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, int32Words } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { RowHeap, type RowOrder } from '../text/row-heap.ts';
import { ShapeError, UndriftError } from '../util/errors.ts';
import { type BestRows, bestRowsOf } from './best-rows.ts';
import { ScannedRows } from './scanned-rows.ts';
import type { SearchOptions, SearchResult } from './search-index.ts';
import { blockPlaces, type RowBlock, readBlocks, type StoredRows } from './stored-rows.ts';

/** Settings of a {@link BlockSearch}. */
export interface BlockSearchOptions extends ComputeOptions {
  /** Rows scored at once, ≥ 1. Default 32,768. */
  readonly blockRows?: number | undefined;
}

/** Range of rows. */
export interface RowRange {
  /** First row. */
  readonly start: number;
  /** Row after the last one. */
  readonly end: number;
}

/** Settings of one search of a {@link BlockSearch}. */
export interface BlockSearchRequest extends Pick<SearchOptions, 'ties' | 'onProgress'> {
  /**
   * f32[N]: numbers to add to the scores of the rows, s(q, n) = q · e_n + b_n. Default none. With b_n = −‖e_n‖² / 2, the best rows
   * are the nearest ones: ‖q − e_n‖² = ‖q‖² − 2 s(q, n).
   */
  readonly bias?: Float32Array | undefined;
  /** Returns the rows that a query may not find. Consecutive queries with the same rows are searched together. */
  readonly hidden?: ((query: number) => RowRange | undefined) | undefined;
}

/** Rows scored at once. With 64 queries, a block of scores takes 8 MiB. Larger ones leave the processor's cache. */
export const BLOCK_ROWS = 32_768;
/** Number of rows for each query above which all scores of a block are scanned, in place of a top-k. */
const SCANNED_K = 100;
/** Rows of which the largest score is found first where all scores are scanned. */
const GROUP_ROWS = 16;
/** Queries scored at once. More make the matrix product no faster, and push the scores out of the processor's cache. */
const QUERY_ROWS = 64;

/**
 * Search over the rows of matrices, which may differ from call to call; the compiled programs serve all of them. Rows may be in
 * memory, or stored and read in blocks. See `ExactIndex` for how scores are computed.
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
   * Finds the best rows for each query.
   *
   * @param rows  f32[N, D], row-major, which must not change before the search is done; or rows that are read in blocks
   * @param queries  f32[B, D], row-major
   * @param topK  rows for each query; N of them where there are fewer. A query from which rows are hidden may find fewer: its last
   *   places then have the row −1 and the score −∞
   * @throws ShapeError for queries of another dimension
   * @throws UndriftError for a query that is not finite
   */
  async search(
    rows: Float32Array | StoredRows,
    queries: Float32Array,
    topK: number,
    { ties, bias, hidden, onProgress }: BlockSearchRequest = {},
  ): Promise<SearchResult> {
    const D = this.dimension;
    checkRows('the queries', queries, D);
    const B = queries.length / D;
    const size = rows instanceof Float32Array ? rows.length / D : rows.size;
    const k = Math.min(topK, size);
    const found = {
      rows: new Int32Array(B * k).fill(-1),
      scores: new Float32Array(B * k).fill(-Infinity),
      k,
    };
    if (k === 0) return found;
    const batches = [...queryBatches(queries, D, hidden)];
    if (ties !== undefined) {
      for (const batch of batches) {
        await this.searchWithTies(rows, { ...batch, bias }, ties, found);
        onProgress?.({ stage: 'search', done: batch.end, total: B, unit: 'queries' });
      }
      return found;
    }
    const scanned = k > SCANNED_K ? Array.from({ length: B }, () => new ScannedRows(k)) : undefined;
    const best = scanned ? [] : bestRowsOf(found);
    const buffers = scanned && scanBuffers(Math.min(B, QUERY_ROWS), Math.min(size, this.blockRows));
    for await (const block of this.blocks(rows)) {
      for (const { start, end, ...batch } of batches) {
        const own = { start, end, ...batch, bias };
        if (buffers) await this.scanBlock(block, own, scanned!.slice(start, end), buffers);
        else await this.searchBlock(block, own, best.slice(start, end), k);
        const isLast = block.start + block.count === size && end === B;
        const searched = (block.seen + (block.count * end) / B) / size;
        const done = isLast ? B : Math.min(B - 1, Math.floor(B * searched));
        onProgress?.({ stage: 'search', done, total: B, unit: 'queries' });
      }
    }
    for (const [b, own] of (scanned ?? []).entries())
      own.write(found.rows.subarray(b * k, (b + 1) * k), found.scores.subarray(b * k, (b + 1) * k));
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
    rows: Float32Array | StoredRows,
    batch: QueryBatch,
    ties: RowOrder,
    found: SearchResult,
  ): Promise<void> {
    const { k } = found;
    const count = batch.end - batch.start;
    const wide = Math.min(k + 1, rows instanceof Float32Array ? rows.length / this.dimension : rows.size);
    const more = {
      rows: new Int32Array(count * wide).fill(-1),
      scores: new Float32Array(count * wide).fill(-Infinity),
      k: wide,
    };
    const best = bestRowsOf(more);
    for await (const block of this.blocks(rows)) await this.searchBlock(block, batch, best, wide);
    const heaps = new Map<number, RowHeap>();
    for (let b = 0; b < count; b++) {
      const own = more.scores.subarray(b * wide, (b + 1) * wide);
      if (wide > k && own[k] === own[k - 1] && own[k] !== -Infinity) heaps.set(b, new RowHeap(k, ties));
    }
    if (heaps.size > 0) await this.offerAll(rows, batch, heaps);
    for (let b = 0; b < count; b++) {
      const heap = heaps.get(b) ?? new RowHeap(k, ties);
      if (!heaps.has(b)) {
        for (let i = b * wide; i < b * wide + k && more.rows[i] !== -1; i++)
          heap.offer(more.rows[i]!, more.scores[i]!);
      }
      const { rows: ordered, scores } = heap.take();
      found.rows.set(ordered, (batch.start + b) * k);
      found.scores.set(scores, (batch.start + b) * k);
    }
  }

  /** Offers the scores of all rows for some queries of a batch, by their place in it. */
  private async offerAll(
    rows: Float32Array | StoredRows,
    batch: QueryBatch,
    heaps: ReadonlyMap<number, RowHeap>,
  ): Promise<void> {
    for await (const block of this.blocks(rows)) {
      const { seen, start, count } = block;
      const feeds = feedsOf(block, batch);
      const program = await this.program(feeds, undefined);
      const { scores } = await program.run(feeds);
      const values = float32(scores, 'scores');
      for (const [b, heap] of heaps) {
        for (let row = seen; row < start + count; row++) {
          const score = values[b * count + row - start]!;
          if (!feeds.bias || score !== -Infinity) heap.offer(row, score);
        }
      }
    }
  }

  /** Merges the best rows of a block into those of the queries of a batch. */
  private async searchBlock(
    block: RowBlock,
    batch: QueryBatch,
    best: readonly BestRows[],
    k: number,
  ): Promise<void> {
    const { seen, start, count } = block;
    const blockK = Math.min(k, count);
    const feeds = feedsOf(block, batch);
    const program = await this.program(feeds, blockK);
    const { scores, positions } = await program.run(feeds);
    const values = float32(scores, 'scores');
    const words = int32Words(positions!.data as BigInt64Array);
    const isHidden = (score: number) => feeds.bias !== undefined && score === -Infinity;
    for (const [b, list] of best.entries()) {
      const own = values.subarray(b * blockK, (b + 1) * blockK);
      list.merge(own, (i) => {
        const row = start + words[2 * (b * blockK + i)]!;
        return row < seen || isHidden(own[i]!) ? undefined : row;
      });
    }
  }

  /** Takes the rows of a block in that are among the best so far, from all their scores. */
  private async scanBlock(
    block: RowBlock,
    batch: QueryBatch,
    scanned: readonly ScannedRows[],
    buffers: ScanBuffers,
  ): Promise<void> {
    const { seen, start, count } = block;
    const feeds = feedsOf(block, batch);
    const group = groupOf(count);
    const groups = count / group;
    const name = `exact-scan-${count}${feeds.bias ? '-biased' : ''}`;
    const program = await this.programs.get(name, () => {
      const { graph, scores } = this.scoring(name, count, feeds.bias !== undefined);
      graph.output('scores', scores);
      graph.output('maxima', max(reshape(scores, ['queries', groups, group]), { axes: [2] }));
      graph.output('sums', sum(scores, { axes: [1] }));
      return graph;
    });
    const B = scanned.length;
    const [scores, maxima, sums] = [
      buffers.scores.subarray(0, B * count),
      buffers.maxima.subarray(0, B * groups),
      buffers.sums.subarray(0, B),
    ];
    const into = {
      scores: hostTensor('f32', [B, count], scores),
      maxima: hostTensor('f32', [B, groups], maxima),
      sums: hostTensor('f32', [B], sums),
    };
    await program.run(feeds, { into });
    const found = { start, count, scores, group, maxima, sums };
    for (const [b, own] of scanned.entries()) own.scan(found, b, Math.max(0, seen - start));
  }

  private async *blocks(rows: Float32Array | StoredRows): AsyncGenerator<RowBlock> {
    const { dimension: D, blockRows } = this;
    if (!(rows instanceof Float32Array)) yield* readBlocks(rows, D, blockRows, this.programs);
    else {
      for (const place of blockPlaces(rows.length / D, blockRows)) {
        const { start, count } = place;
        yield { ...place, rows: matrix(rows.subarray(start * D, (start + count) * D), D) };
      }
    }
  }

  /** Program of one block: its k best scores with their positions, or all scores where k is undefined. */
  private program({ bias }: Feeds, k: number | undefined): Promise<Program> {
    const name = `${k === undefined ? 'exact-scores' : `exact-search-${k}`}${bias ? '-biased' : ''}`;
    return this.programs.get(name, () => {
      const { graph, scores } = this.scoring(name, 'rows', bias !== undefined);
      if (k === undefined) {
        graph.output('scores', scores);
        return graph;
      }
      const best = topK(scores, { k });
      graph.output('scores', best.values);
      graph.output('positions', best.indices);
      return graph;
    });
  }

  /** Graph with the scores of a block, f32[queries, rows]. */
  private scoring(name: string, rows: Dim, isBiased: boolean): { graph: Graph; scores: Tensor } {
    const graph = new Graph(name);
    const queries = graph.input('queries', 'f32', ['queries', this.dimension]);
    const block = graph.input('block', 'f32', [rows, this.dimension]);
    const products = matmul(queries, block, { transB: true });
    return { graph, scores: isBiased ? add(products, graph.input('bias', 'f32', [rows])) : products };
  }
}

/** Number of consecutive rows of a block whose largest score is found first. */
const groupOf = (rows: number): number => (rows % GROUP_ROWS === 0 ? GROUP_ROWS : 1);

/** Memory that receives the scores of a block where all are scanned. */
type ScanBuffers = Readonly<Record<'scores' | 'maxima' | 'sums', Float32Array<ArrayBuffer>>>;

/** Makes the memory for blocks of a number of rows, and at most `queries` queries. */
const scanBuffers = (queries: number, rows: number): ScanBuffers => ({
  scores: new Float32Array(queries * rows),
  maxima: new Float32Array((queries * rows) / groupOf(rows)),
  sums: new Float32Array(queries),
});

/** Queries that are scored at once. */
interface QueryBatch {
  /** First query. */
  readonly start: number;
  /** Query after the last one. */
  readonly end: number;
  /** f32[end − start, D] */
  readonly queries: HostTensor;
  /** Rows that none of these queries may find. */
  readonly hidden?: RowRange | undefined;
  /** f32[N]: added to the score of each row. */
  readonly bias?: Float32Array | undefined;
}

type Feeds = { readonly queries: HostTensor; readonly block: HostTensor; readonly bias?: HostTensor };

/** Divides queries into batches, each of queries from which the same rows are hidden. */
function* queryBatches(
  queries: Float32Array,
  D: number,
  hidden?: (query: number) => RowRange | undefined,
): Generator<QueryBatch> {
  const B = queries.length / D;
  for (let start = 0; start < B; ) {
    const range = hidden?.(start);
    let end = Math.min(B, start + QUERY_ROWS);
    if (hidden) {
      let same = start + 1;
      while (same < end && isSame(hidden(same), range)) same += 1;
      end = same;
    }
    yield { start, end, queries: matrix(queries.subarray(start * D, end * D), D), hidden: range };
    start = end;
  }
}

const isSame = (a: RowRange | undefined, b: RowRange | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.start === b.start && a.end === b.end);

/** Inputs of the program for a block and a batch. Hidden rows get the bias −∞. */
function feedsOf({ start, count, rows }: RowBlock, { queries, bias, hidden }: QueryBatch): Feeds {
  const own = bias?.subarray(start, start + count);
  const [from, to] = hidden ? [hidden.start - start, hidden.end - start] : [0, 0];
  if (!hidden || to <= 0 || from >= count || from >= to) {
    return {
      queries,
      block: rows,
      ...(own && { bias: hostTensor('f32', [count], own as Float32Array<ArrayBuffer>) }),
    };
  }
  const values = own ? own.slice() : new Float32Array(count);
  values.fill(-Infinity, Math.max(0, from), Math.min(count, to));
  return { queries, block: rows, bias: hostTensor('f32', [count], values) };
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
