/** Version of the embeddings that all rows of a shard ought to have. */
export interface WantedVersion {
  /** Name of the version: letters, digits, `-` and `_`. Equal names mean equal weights, settings and dimension. */
  readonly id: string;
  /** Training steps of the encoder. */
  readonly step: number;
  /** Embedding size D. */
  readonly dimension: number;
  /** Model folder on this machine, which is published when a worker first needs the version. */
  readonly folder: string;
}

/** Token ids of some rows. */
export interface RowTokens {
  /** u32[rows]: numbers of the rows. */
  readonly rows: Uint32Array;
  /** i32[rows]: tokens of each row. */
  readonly lengths: Int32Array;
  /** Token ids, one row after the other. */
  readonly tokens: Uint16Array | Int32Array;
  /** u64[rows]: mark of each row's text. A row whose text has changed has another mark. */
  readonly marks: BigUint64Array;
}

/** Embeddings of some rows, by one version. */
export interface EmbeddedRows {
  /** Name of the version that made them. */
  readonly version: string;
  /** u32[rows]: numbers of the rows. */
  readonly rows: Uint32Array;
  /** u64[rows]: marks that came with the tokens. */
  readonly marks: BigUint64Array;
  /** f32[rows, D]. */
  readonly vectors: Float32Array;
}

/** Rows of a shard by the version of their embeddings. */
export interface ShardCounts {
  /** Number of rows. */
  readonly rows: number;
  /** Rows whose embedding is not of the wanted version. */
  readonly stale: number;
  /** Rows by version, without those that have no embedding. */
  readonly versions: readonly { readonly id: string; readonly step: number; readonly rows: number }[];
}

/**
 * Rows with one single writer, of which some are stale. A row is stale exactly if its durable stamp is not that of the wanted version: tasks
 * that the cluster hands out are derived from this, and may be lost or doubled.
 */
export interface ShardKeeper {
  /** Name of the shard in the cluster: letters, digits, `-` and `_`. */
  readonly name: string;
  /** Returns the version that rows ought to have, as of the newest state; undefined while there is none. */
  wanted(): Promise<WantedVersion | undefined>;
  /**
   * Lists stale rows in blocks, ascending. A block is embedded by one call of `encodeRows` and stored as a whole. Its ends depend on the rows
   * of the shard alone, not on which of them are stale, so that a block that is handed out again has the same bits.
   *
   * @param options.after  only blocks that begin after this row; −1 for all
   * @param options.blocks  most blocks to return
   */
  stale(options: { readonly after: number; readonly blocks: number }): Promise<readonly Uint32Array[]>;
  /** Reads the tokens of rows, without those that are not stale any more, or gone. */
  tokens(rows: Uint32Array): Promise<RowTokens>;
  /**
   * Stores embeddings, and returns the number of rows stored when they are durable. Rows are left out whose version is not the wanted one,
   * which are not stale, or whose text has changed since their tokens were read.
   */
  put(results: readonly EmbeddedRows[]): Promise<number>;
  /** Counts the rows by version. */
  counts(): Promise<ShardCounts>;
  /** Called when rows were stored and no row is stale any more, for example to build an index. */
  finish?(): Promise<void>;
}
