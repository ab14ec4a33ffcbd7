/**
 * Lists of corpus rows of any length, one per query, in compressed sparse rows: the list of the i-th query is
 * `rows[offsets[i]] … rows[offsets[i + 1] − 1]`.
 */
export interface RowLists {
  /** Positions in `rows`, u32[B + 1]. */
  readonly offsets: Uint32Array;
  /** Rows of the corpus, list after list. */
  readonly rows: Int32Array;
  /** Scores of a teacher, aligned with `rows`; NaN where the data has none. */
  readonly scores?: Float32Array | undefined;
}

/** Rows of each query with their relevance grades. */
export interface GradedRowLists extends RowLists {
  /** Relevance grade of each row, aligned with `rows`. */
  readonly grades: Float32Array;
}

/** Training examples of a split: its queries with at least one positive, in the order of the source. */
export interface TrainingExamples {
  /** Rows of the query corpus, one per example. */
  readonly queryRows: Int32Array;
  /** Documents with a grade above 0, at least one per example. */
  readonly positives: GradedRowLists;
  /** Documents given as negatives or judged 0 or less; lists may be empty. Absent if the data has none. */
  readonly negatives?: RowLists | undefined;
}

/** Query id → document id → relevance grade. */
export type Qrels = ReadonlyMap<string, ReadonlyMap<string, number>>;
