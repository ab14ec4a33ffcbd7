import type { ComputeOptions } from '../runtime/devices.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { ShapeError, UsageError } from '../util/errors.ts';
import { checkOption } from '../util/option-table.ts';
import { BlockSearch, checkRows } from './block-search.ts';
import { checkSpace, type SearchIndex, type SearchOptions, type SearchResult } from './search-index.ts';

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

/**
 * Exact maximum inner product search over N embeddings:
 *
 *     top-k over rows n of  s(q, n) = q · e_n,     equal scores by ascending row, or by the order that a search is given
 *
 * Scores are computed block by block, as one matrix product Q Eᵀ f32[64, blockRows]. For k up to 100 only the k best scores of each
 * query leave the runtime, and are merged with those of earlier blocks; for more, all scores are compared with a bound (see `ScannedRows`). The
 * embeddings are not copied. The index needs one block of scores
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
  private readonly blocks: BlockSearch;

  private constructor(
    embeddings: Float32Array,
    dimension: number,
    { embeddingSpace, ...options }: ExactIndexOptions,
  ) {
    this.embeddings = embeddings;
    this.dimension = dimension;
    this.embeddingSpace = embeddingSpace;
    this.size = embeddings.length / dimension;
    this.blocks = new BlockSearch(dimension, options);
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
    return await this.blocks.search(this.embeddings, queries, topK, options);
  }

  /** Frees the compiled programs. The embeddings belong to the caller. */
  async dispose(): Promise<void> {
    await this.blocks.dispose();
  }
}
