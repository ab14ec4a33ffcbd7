import type { StoredBridge, StoredMigration, StoredSpace } from '../store/store-head.ts';

/** Name of the vectors that a database had before, in calls of {@link VectorStore.read}. */
export const ORIGINAL = 'original';

/**
 * Database of texts and vectors that belongs to somebody else. A migration to another model works over any database with these
 * functions; `examples/own-vector-store.ts` implements them in memory.
 *
 * The database has one vector column (or field) of its own, the original vectors, which are read and never written. Vectors of each
 * further embedding space are kept beside it, in a place of their own.
 */
export interface VectorStore {
  /** Name of the database in messages, without passwords. */
  readonly name: string;

  /** Counts rows and vectors. */
  describe(): Promise<VectorStoreFacts>;

  /** Reads some rows in the order of their ids. */
  read(request: ReadRequest): Promise<VectorRow[]>;

  /**
   * Stores vectors of one space, all or none of them. Makes the place of the space at the first call. A row has one vector in a space:
   * a true vector replaces any, a corrected vector replaces a corrected one only.
   */
  write(space: StoredSpace, vectors: readonly WrittenVector[]): Promise<void>;

  /** Removes the vectors of a space and their place. Does nothing if there are none. */
  drop(space: string): Promise<void>;

  /** Reads the state that was written last; null if there is none. */
  readState(): Promise<VectorStoreState | null>;

  /**
   * Replaces the state durably. A database that searches by itself lets its searches see the vectors of `state.current` from then on.
   *
   * @throws UndriftError if `state.revision` is not one more than that of the state in the database (0 if there is none), because
   *   another process has changed it meanwhile
   */
  writeState(state: VectorStoreState): Promise<void>;
}

/** Contents of a database in numbers. */
export interface VectorStoreFacts {
  /** Number of rows. */
  readonly rows: number;
  /** Original vectors; null if the database has none. */
  readonly original: {
    /** Embedding size D. */
    readonly dimension: number;
    /** Number of rows with an original vector. */
    readonly rows: number;
  } | null;
  /** Spaces that were written. */
  readonly spaces: readonly WrittenSpace[];
}

/** Vectors of one space in numbers. */
export interface WrittenSpace {
  /** Id of the space. */
  readonly id: string;
  /** Number of rows with a vector that fits their present text. */
  readonly rows: number;
  /** Number of these whose vector was moved from another space by a corrector. */
  readonly corrected: number;
}

/** Rows wanted from a database. */
export interface ReadRequest {
  /** Space whose vectors come with the rows: an id, `ORIGINAL`, or null for no vectors. */
  readonly space: string | null;
  /** Whether titles and texts come with the rows. */
  readonly texts: boolean;
  /** Only rows after this id, in the order of the database; null: from the first row on. */
  readonly after: string | null;
  /** Largest number of rows. Fewer mean that there are no more. */
  readonly limit: number;
  /** Only rows of these ids. Default all. */
  readonly ids?: readonly string[] | undefined;
  /**
   * Only rows that lack something in a space: a vector of any kind, or a true vector. A vector that was made of a former text counts
   * as lacking, if the database can tell (see `VectorRow.version`).
   */
  readonly lacking?: { readonly space: string; readonly what: 'vector' | 'true vector' } | undefined;
}

/** Row of a database. */
export interface VectorRow {
  /** Id as a text, unique. */
  readonly id: string;
  /** Title, empty if there is none or texts were not asked for. */
  readonly title: string;
  /** Text; null if the row has none or texts were not asked for. */
  readonly text: string | null;
  /** Mark that changes with title or text; empty if the database has none. It is stored with the vector that is made of the text. */
  readonly version: string;
  /** Vector of the space asked for; null if the row has none. */
  readonly vector: StampedVector | null;
}

/** Vector with its stamp. */
export interface StampedVector {
  /** f32[D]. */
  readonly values: Float32Array;
  /** Training steps of the encoder that made the vector; 0 for original vectors. */
  readonly step: number;
  /** Time at which the vector was made, in milliseconds since 1970; 0 if it is not known. */
  readonly time: number;
  /** Whether the vector was moved from another space by a corrector. */
  readonly corrected: boolean;
}

/** Vector to be stored. */
export interface WrittenVector extends StampedVector {
  /** Id of the row. */
  readonly id: string;
  /** Version of the row whose text the vector was made of. */
  readonly version: string;
}

/** Migration of a database's vectors from one space to another. */
export type VectorMigration = Pick<StoredMigration, 'from' | 'to' | 'started'>;

/** State of the migrations of a database: plain JSON, which a database stores as it is. */
export interface VectorStoreState {
  /** Number of times that the state has been written. */
  readonly revision: number;
  /** Space of the original vectors; null if it is not known. */
  readonly original: StoredSpace | null;
  /** Spaces that were written. */
  readonly spaces: readonly StoredSpace[];
  /** Id of the space that queries should be embedded in; null before the first. */
  readonly current: string | null;
  /** Migration that is under way; null if there is none. */
  readonly migration: VectorMigration | null;
  /** Corrector of this migration with the files of its folder; null if there is none. */
  readonly bridge: (StoredBridge & { readonly files: StoredFiles }) | null;
}

/** Files in base64 by their names. */
export type StoredFiles = Readonly<Record<string, string>>;
