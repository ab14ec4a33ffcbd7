/**
 * One list of corpus rows per query, of any length, packed: the list of the i-th query is
 * `rows[offsets[i]] … rows[offsets[i + 1] − 1]` (compressed sparse rows).
 */
export interface RowLists {
  /** B + 1 positions in `rows`. */
  readonly offsets: Uint32Array;
  readonly rows: Int32Array;
  /** A teacher's scores, aligned with `rows`; NaN where the data gives none. */
  readonly scores?: Float32Array | undefined;
}

/** The positives of each query, with their grades. */
export interface GradedRowLists extends RowLists {
  /** Relevance grade of each row, aligned with `rows`. */
  readonly grades: Float32Array;
}

/** What a split teaches: queries that have at least one positive, in the order of the source. */
export interface TrainingExamples {
  /** Rows of the query corpus, one per example. */
  readonly queryRows: Int32Array;
  /** Documents of a grade above 0; at least one per example. */
  readonly positives: GradedRowLists;
  /** Documents given as negatives or judged 0 or less, where the data has any; lists may be empty. */
  readonly negatives?: RowLists | undefined;
}

/** Query id → document id → relevance grade. */
export type Qrels = ReadonlyMap<string, ReadonlyMap<string, number>>;
