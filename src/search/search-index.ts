import type { RowOrder } from '../text/row-heap.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';

/** Best rows of B queries, best first. Query b owns the places `[b * k, (b + 1) * k)` of both arrays. */
export interface SearchResult {
  /** i32[B, k]: rows of the index. */
  readonly rows: Int32Array;
  /** f32[B, k]: inner products, descending. */
  readonly scores: Float32Array;
  /** Results of each query: the number asked for, or N where the index holds fewer. */
  readonly k: number;
}

/** Options of a search. */
export interface SearchOptions {
  /** Order of rows with equal scores, which also decides which of them are cut. Default ascending. */
  readonly ties?: RowOrder | undefined;
  /** Id of the space of the queries (see `embeddingSpaceId`). Default: unknown. */
  readonly embeddingSpace?: string | undefined;
  /** Called after every block of queries. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Index over N embeddings of one space, searched by inner product. The interface says neither where embeddings are kept nor how
 * they are found.
 */
export interface SearchIndex {
  /** Number of embeddings, N. */
  readonly size: number;
  /** Size of an embedding, D. */
  readonly dimension: number;
  /** Id of the space of the embeddings (see `embeddingSpaceId`); undefined where it is unknown. Queries must be of the same space. */
  readonly embeddingSpace: string | undefined;
  /**
   * Finds the k rows with the largest inner product with each query.
   *
   * @param queries  f32[B, D], row-major
   * @param k  rows for each query, ≥ 1
   * @throws UsageError for queries of another space, where both spaces are known
   */
  search(queries: Float32Array, k: number, options?: SearchOptions): Promise<SearchResult>;
  /** Frees memory that the index holds outside of JavaScript's heap. */
  dispose(): Promise<void>;
}

/** Checks that queries are of the space of the index, where both are known. */
export function checkSpace(index: string | undefined, queries: string | undefined): void {
  if (index === undefined || queries === undefined || index === queries) return;
  throw new UsageError(
    `the index holds vectors of the embedding space ${index}, the queries are of ${queries}`,
    {
      help: 'encode the documents again with the model of the queries, or the queries with that of the documents',
    },
  );
}
