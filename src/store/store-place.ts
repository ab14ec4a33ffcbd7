import type { Connection } from '@lancedb/lancedb';
import type { HeadFile, StoreHead } from './store-head.ts';

/** Table of the passages. */
export const PASSAGES = 'passages';

/** Right to change a store, which one process has at a time. */
export interface WriterLock {
  /**
   * Checks that no other process has taken the right over.
   *
   * @throws UndriftError if one has
   */
  check(): void;
  /** Gives the right back. */
  release(): Promise<void>;
}

/** Folders and single files in a store: models in `encoders/`, correctors in `correctors/`, canary texts in `canaries/`. */
export interface StoreFiles {
  /** Tells whether a folder or file is part of the store. */
  has(name: string): Promise<boolean>;
  /**
   * Returns the path of a folder or file on this machine, after a download if needed.
   *
   * @throws DataError if the store does not have it, or it is damaged
   */
  open(name: string): Promise<string>;
  /** Adds or replaces a folder or file. `write` writes it to a path on this machine. */
  save(name: string, write: (path: string) => Promise<unknown>): Promise<void>;
  /** Removes a folder or file if there is one. */
  remove(name: string): Promise<void>;
}

/** Place where the tables and the head of a store lie: a folder, or an address of an object store. */
export interface StorePlace {
  /** Absolute path of the folder, or address, under which the store is opened again. */
  readonly address: string;
  /** Folder on this machine for files that may be lost. */
  readonly scratch: string;
  /** Connection to the tables. */
  readonly connection: Connection;
  /** Head of the store. */
  readonly head: HeadFile;
  /** Folders of files. */
  readonly files: StoreFiles;
  /** File of the head on this machine, to see when it changes; undefined where there is none. */
  readonly headPath: string | undefined;
  /**
   * Makes a new store, unless another process is quicker.
   *
   * @param tables  makes the tables, and returns the first head
   * @returns  head of the store
   * @throws UsageError if something else lies there
   */
  make(tables: () => Promise<StoreHead>): Promise<StoreHead>;
  /**
   * Waits for the right to change the store.
   *
   * @throws UndriftError if another process has it for longer than half a minute
   */
  lock(): Promise<WriterLock>;
  /** Makes all versions of a table survive a loss of power. */
  sync(table: string): Promise<void>;
  /**
   * Takes back what was written to a table after a version, and returns what was taken back.
   *
   * @param committed  last committed version
   */
  rollBack(table: string, committed: number): Promise<number[]>;
  /** Forgets a table that was dropped. */
  forget(table: string): void;
  /** Merges small files of the place's own tables. */
  tidy(unneededBefore: Date): Promise<void>;
  /** Size in bytes. */
  bytes(): Promise<number>;
  /** Closes the connection. */
  close(): void;
}

/** Makes the first head of a place with the lock held, unless another process has made one. Returns the head that there is then. */
export async function makeFirstHead(
  place: Pick<StorePlace, 'head' | 'lock'>,
  tables: () => Promise<StoreHead>,
): Promise<StoreHead> {
  const lock = await place.lock();
  try {
    const made = await place.head.read();
    if (made) return made;
    const head = await tables();
    await place.head.write(head);
    return head;
  } finally {
    await lock.release();
  }
}
