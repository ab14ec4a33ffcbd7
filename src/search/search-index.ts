import type { Progress } from '../util/progress.ts';

/** The best rows of B queries, best first: query b owns `[b * k, (b + 1) * k)` of both arrays. */
export interface SearchResult {
  /** i32[B, k]: rows of the index. */
  readonly rows: Int32Array;
  /** f32[B, k], descending. */
  readonly scores: Float32Array;
  /** Results of each query: the number asked for, or N where that is less. */
  readonly k: number;
}

export interface SearchOptions {
  /** Called after every block of queries. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** N embeddings of one space that can be searched by inner product, wherever they are kept and however they are found. */
export interface SearchIndex {
  /** N. */
  readonly size: number;
  /** D. */
  readonly dimension: number;
  /** Id of the space of the embeddings (see `embeddingSpaceId`); undefined where nobody said. Queries must be of the same space. */
  readonly embeddingSpace: string | undefined;
  /**
   * The k rows of largest inner product with each query.
   * @param queries  f32[B, D]
   */
  search(queries: Float32Array, k: number, options?: SearchOptions): Promise<SearchResult>;
  /** Frees what the index holds outside of JavaScript's memory. */
  dispose(): Promise<void>;
}
