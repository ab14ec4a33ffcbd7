import { Graph } from '../graph/graph.ts';
import { matmul, topK } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, int32Words } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { RowHeap, type RowOrder } from '../text/row-heap.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { ShapeError, UndriftError, UsageError } from '../util/errors.ts';
import { checkOption } from '../util/option-table.ts';
import { type BestRows, bestRowsOf } from './best-rows.ts';
import type { SearchIndex, SearchOptions, SearchResult } from './search-index.ts';

/** Options of `ExactIndex.create`. */
export interface ExactIndexOptions extends ComputeOptions {
  /**
   * Corpus rows scored at once, ≥ 1. Default 32,768: with 64 queries, a block of scores takes 8 MiB. Smaller blocks are merged
   * more often; larger ones leave the processor's cache.
   */
  blockRows?: number;
  /** Id of the space of the embeddings. Default: unknown. */
  embeddingSpace?: string | undefined;
}

const BLOCK_ROWS = 32_768;
/** Queries scored at once. More make the matrix product no faster, and push the scores out of the processor's cache. */
const QUERY_ROWS = 64;

/**
 * Exact maximum inner product search over N embeddings:
 *
 *     top-k over rows n of  s(q, n) = q · e_n,     equal scores by ascending row, or by the order that a search is given
 *
 * Scores are computed block by block, as one matrix product Q Eᵀ f32[64, blockRows]. Only the k best scores of each query leave
 * the runtime; they are merged with those of earlier blocks. The embeddings are not copied. The index needs one block of scores
 * besides them, whatever N and the number of queries.
 */
export class ExactIndex implements SearchIndex {
  /** Number of embeddings, N. */
  readonly size: number;
  /** Size of an embedding, D. */
  readonly dimension: number;
  /** Id of the space of the embeddings; undefined where it was not given. */
  readonly embeddingSpace: string | undefined;
  private readonly embeddings: Float32Array;
  private readonly blockRows: number;
  /** Programs by the k of a block, which is fixed in a program. */
  private readonly programs: ProgramCache;

  private constructor(
    embeddings: Float32Array,
    dimension: number,
    { blockRows = BLOCK_ROWS, embeddingSpace, ...compute }: ExactIndexOptions,
  ) {
    this.embeddings = embeddings;
    this.dimension = dimension;
    this.embeddingSpace = embeddingSpace;
    this.size = embeddings.length / dimension;
    this.blockRows = Math.min(this.size, blockRows);
    this.programs = new ProgramCache(compute);
  }

  /**
   * Creates an index over embeddings in memory.
   *
   * @param embeddings  f32[N, D], row-major. They are not copied, and must not change while the index is in use.
   * @param dimension  D
   * @throws ShapeError for an empty array, for one that is not a whole number of rows, for more than 2³¹ − 1 rows, and for memory
   *   shared between threads
   * @throws UndriftError for an embedding that is not finite
   * @throws UsageError for a `blockRows` that is not a whole number ≥ 1
   */
  static create(embeddings: Float32Array, dimension: number, options: ExactIndexOptions = {}): ExactIndex {
    checkRows('the corpus', embeddings, dimension);
    if (embeddings.length === 0) throw new ShapeError('an index needs at least one embedding');
    if (embeddings.length / dimension > 2 ** 31 - 1) {
      throw new ShapeError(
        `an index holds at most ${2 ** 31 - 1} rows, got ${embeddings.length / dimension}`,
      );
    }
    const { blockRows } = options;
    if (blockRows !== undefined && !(Number.isInteger(blockRows) && blockRows >= 1)) {
      throw new UsageError(`blockRows must be a whole number ≥ 1, found ${blockRows}`);
    }
    return new ExactIndex(embeddings, dimension, options);
  }

  /**
   * Finds the `topK` best rows of each query.
   *
   * @param queries  f32[B, D], row-major
   * @param topK  rows for each query; N of them where the index holds fewer
   * @param options.embeddingSpace  id of the space of the queries; checked if that of the index is known too
   * @throws UsageError for a `topK` that is not a whole number ≥ 1, and for queries of another space
   * @throws ShapeError for queries of another dimension
   * @throws UndriftError for a query that is not finite
   */
  async search(queries: Float32Array, topK: number, options: SearchOptions = {}): Promise<SearchResult> {
    checkOption('topK', COMMON_RANGES.topK, topK);
    checkSpace(this.embeddingSpace, options.embeddingSpace);
    const D = this.dimension;
    checkRows('the queries', queries, D);
    const B = queries.length / D;
    const k = Math.min(topK, this.size);
    if (options.ties !== undefined) return await this.searchWithTies(queries, k, options.ties, options);
    const rows = new Int32Array(B * k);
    const scores = new Float32Array(B * k);
    const best = bestRowsOf({ rows, scores, k });
    for (let start = 0; start < B; start += QUERY_ROWS) {
      const end = Math.min(B, start + QUERY_ROWS);
      const batch = matrix(queries.subarray(start * D, end * D), D);
      await this.searchBatch(batch, best.slice(start, end), k);
      options.onProgress?.({ stage: 'search', done: end, total: B, unit: 'queries' });
    }
    return { rows, scores, k };
  }

  /** Frees the compiled programs. The embeddings belong to the caller. */
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
    queries: Float32Array,
    k: number,
    ties: RowOrder,
    options: SearchOptions,
  ): Promise<SearchResult> {
    const D = this.dimension;
    const B = queries.length / D;
    const wide = Math.min(k + 1, this.size);
    const rows = new Int32Array(B * k);
    const scores = new Float32Array(B * k);
    for (let start = 0; start < B; start += QUERY_ROWS) {
      const count = Math.min(B - start, QUERY_ROWS);
      const batch = matrix(queries.subarray(start * D, (start + count) * D), D);
      const found = { rows: new Int32Array(count * wide), scores: new Float32Array(count * wide), k: wide };
      await this.searchBatch(batch, bestRowsOf(found), wide);
      const heaps = new Map<number, RowHeap>();
      for (let b = 0; b < count; b++) {
        const own = found.scores.subarray(b * wide, (b + 1) * wide);
        if (wide > k && own[k] === own[k - 1]) heaps.set(b, new RowHeap(k, ties));
      }
      if (heaps.size > 0) await this.offerAll(batch, heaps);
      for (let b = 0; b < count; b++) {
        const heap = heaps.get(b) ?? new RowHeap(k, ties);
        if (!heaps.has(b))
          for (let i = 0; i < k; i++) heap.offer(found.rows[b * wide + i]!, found.scores[b * wide + i]!);
        const best = heap.take();
        rows.set(best.rows, (start + b) * k);
        scores.set(best.scores, (start + b) * k);
      }
      options.onProgress?.({ stage: 'search', done: start + count, total: B, unit: 'queries' });
    }
    return { rows, scores, k };
  }

  /** Offers the scores of all rows for some queries of a batch, by their place in it. */
  private async offerAll(queries: HostTensor, heaps: ReadonlyMap<number, RowHeap>): Promise<void> {
    const { size, blockRows } = this;
    const program = await this.programs.get('exact-scores', () => this.graph());
    for (let seen = 0; seen < size; seen += blockRows) {
      const start = Math.min(seen, size - blockRows);
      const { scores } = await program.run({ queries, block: this.block(start) });
      const values = float32(scores, 'scores');
      for (const [b, heap] of heaps) {
        for (let row = seen; row < start + blockRows; row++)
          heap.offer(row, values[b * blockRows + row - start]!);
      }
    }
  }

  /** Embeddings from a row on that are scored at once. */
  private block(start: number): HostTensor {
    const { dimension: D, blockRows } = this;
    return matrix(this.embeddings.subarray(start * D, (start + blockRows) * D), D);
  }

  private async searchBatch(queries: HostTensor, best: readonly BestRows[], k: number): Promise<void> {
    const { size, blockRows } = this;
    const blockK = Math.min(k, blockRows);
    const program = await this.programs.get(`exact-search-${blockK}`, () => this.graph(blockK));
    for (let seen = 0; seen < size; seen += blockRows) {
      // All blocks have one size, so that one program serves them; the last block therefore begins inside the one before it. A
      // row among the k best of all is among the k best of each block that holds it, so none is lost. Rows seen before are
      // skipped.
      const start = Math.min(seen, size - blockRows);
      const { scores, positions } = await program.run({ queries, block: this.block(start) });
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

  /** Graph of one block: its k best scores with their positions, or all scores where k is not given. */
  private graph(k?: number): Graph {
    const graph = new Graph(k === undefined ? 'exact-scores' : `exact-search-${k}`);
    const queries = graph.input('queries', 'f32', ['queries', this.dimension]);
    const block = graph.input('block', 'f32', [this.blockRows, this.dimension]);
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

/** Checks that queries are of the space of the index, where both are known. */
function checkSpace(index: string | undefined, queries: string | undefined): void {
  if (index === undefined || queries === undefined || index === queries) return;
  throw new UsageError(
    `the index holds vectors of the embedding space ${index}, the queries are of ${queries}`,
    {
      help: 'encode the documents again with the model of the queries, or the queries with that of the documents',
    },
  );
}

/** Checks that an array holds whole rows of finite numbers, in memory that the runtime accepts. */
function checkRows(what: string, values: Float32Array, dimension: number): void {
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
