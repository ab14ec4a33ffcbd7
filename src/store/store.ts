import { setTimeout as sleep } from 'node:timers/promises';
import type { Table } from '@lancedb/lancedb';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { embeddingSchema, passageSchema } from './columns.ts';
import { EmbeddingTable } from './embedding-table.ts';
import { type Lance, loadLance } from './lance.ts';
import { openPlace } from './open-place.ts';
import { PassageTable } from './passage-table.ts';
import type { StoredSpace, StoredTerms, StoreHead } from './store-head.ts';
import { PASSAGES, type StoreFiles, type StorePlace, type WriterLock } from './store-place.ts';

/** Time for which compaction keeps versions that are no longer current, for processes that still read them. */
const KEEP_MS = 10 * 60_000;

/** Pauses of a reader before it reads the head again, because a table could not be read, in milliseconds. */
const READ_AGAIN_MS = [0, 20, 100];

/** Settings of {@link Store.open}. */
export interface StoreOptions {
  /** Create the store if there is none, with these settings of its index terms. Default: a missing store is an error. */
  readonly create?: StoredTerms | undefined;
  /** Called with a note, for example about uncommitted rows of a killed writer that were set aside. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** Tables of one commit, for reading. A later commit does not change them. */
export interface StoreSnapshot {
  /** State of the commit. */
  readonly head: StoreHead;
  /** Passages. */
  readonly passages: PassageTable;
  /** Embeddings of a space by its id. */
  embeddings(space: string): EmbeddingTable;
}

/** Tables that a commit changes, and the part of the head that it sets. */
export interface StoreDraft extends StoreSnapshot {
  /** Takes numbers for new passages. */
  takePids(count: number): Int32Array;
  /** Adds an embedding space, or returns the table of one that exists. */
  addSpace(space: StoredSpace): Promise<EmbeddingTable>;
  /** Sets other fields of the head. */
  set(fields: Partial<Pick<StoreHead, 'current' | 'bridges' | 'migration'>>): void;
  /** Removes an embedding space with its vectors and its correctors. */
  removeSpace(space: string): Promise<void>;
}

/**
 * Passages and their embeddings in a folder, or under an address of an object store.
 *
 * A store has one table of passages and one table of embeddings for each embedding space, so that vectors of two encoders are
 * never mixed. The tables are LanceDB's; their committed versions stand in the head, which a commit replaces when the tables are
 * written and durable. After a kill or a loss of power, the store is what the head says. `StorePlace` says how this is done in a
 * folder and in an object store.
 *
 * Commits of several processes follow each other. Any number of processes read meanwhile.
 */
export class Store {
  /** Absolute path of the folder, or address of an object store. */
  readonly folder: string;
  /** Place of the tables and of the head. */
  readonly place: StorePlace;
  private readonly lance: Lance;
  private readonly onNote: (note: string) => void;
  private readonly tables = new Map<string, Table>();
  /** Right to change the store, during a commit. */
  private lock: WriterLock | undefined;
  private current: StoreHead;
  private reading: Promise<StoreSnapshot> | undefined;
  /** Commit that is running; others wait for it. */
  private writing: Promise<unknown> = Promise.resolve();

  private constructor(
    place: StorePlace,
    parts: { lance: Lance; head: StoreHead },
    onNote: (note: string) => void,
  ) {
    this.folder = place.address;
    this.place = place;
    this.lance = parts.lance;
    this.current = parts.head;
    this.onNote = onNote;
  }

  /**
   * Opens a store.
   *
   * @param location  folder, or address of an object store, such as `s3://bucket/prefix`
   * @throws UsageError if there is no store, or the folder holds something else
   * @throws DataError if the head is damaged or of another format
   * @throws UndriftError if LanceDB is not installed
   */
  static async open(location: string, { create, onNote = () => {} }: StoreOptions = {}): Promise<Store> {
    const lance = await loadLance();
    const place = await openPlace(lance, location);
    let head = await place.head.read();
    if (!head && !create) {
      throw new UsageError(`${location} is not a store`, {
        help: `make one: undrift index --model MODEL --data DATA --store ${location}`,
      });
    }
    head ??= await place.make(() => createTables(lance, place, create!));
    return new Store(place, { lance, head }, onNote);
  }

  /** Folders of models and correctors. */
  get files(): StoreFiles {
    return this.place.files;
  }

  /** State after the last commit. */
  get head(): StoreHead {
    return this.current;
  }

  /** Finds an embedding space by its id; undefined if the store has none such. */
  space(id: string): StoredSpace | undefined {
    return this.current.spaces.find((space) => space.id === id);
  }

  /** Returns the tables as of the last commit. They stay as they are while later commits are made. */
  async snapshot(): Promise<StoreSnapshot> {
    if (!this.reading) {
      const opening = this.openSnapshot();
      this.reading = opening;
      // The next call tries again.
      opening.catch(() => {
        if (this.reading === opening) this.reading = undefined;
      });
    }
    return await this.reading;
  }

  /** Reads the head again, so that `snapshot` returns what another process has committed. */
  async reload(): Promise<void> {
    const head = await this.place.head.read();
    if (!head) throw new UndriftError(`the store ${this.folder} has been removed`);
    if (JSON.stringify(head) === JSON.stringify(this.current)) return;
    this.current = head;
    this.reading = undefined;
  }

  /**
   * Changes tables in one step: after an error, a kill or a loss of power either all changes or none are part of the store.
   * Commits of one store wait for each other.
   *
   * @throws UndriftError if another process is in the middle of a commit for longer than half a minute
   */
  async commit<T>(work: (draft: StoreDraft) => Promise<T>): Promise<T> {
    return await this.inTurn(() => this.commitNow(work));
  }

  /** Merges small files, extends the indices, and deletes versions that no reader needs any more. */
  async optimize(): Promise<void> {
    await this.commit(async ({ head, passages, embeddings }) => {
      await passages.optimize(await this.unneededBefore(PASSAGES));
      for (const { id } of head.spaces)
        await embeddings(id).optimize(await this.unneededBefore(tableName(id)));
      await this.place.tidy(new Date(Date.now() - KEEP_MS));
    });
  }

  /** Closes the tables, after the commits that have begun. */
  async close(): Promise<void> {
    await this.writing;
    for (const table of this.tables.values()) table.close();
    this.place.close();
  }

  /** Works under the lock, after the commits that have begun. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.writing.then(() => this.locked(work));
    this.writing = result.catch(() => {});
    return await result;
  }

  /** Works while no other process changes the store, on its newest head. */
  private async locked<T>(work: () => Promise<T>): Promise<T> {
    const lock = await this.place.lock();
    this.lock = lock;
    try {
      await this.reload();
      // Every time: another process may have been killed in the middle of a commit.
      await this.rollBack();
      return await work();
    } finally {
      this.lock = undefined;
      await lock.release();
    }
  }

  private async commitNow<T>(work: (draft: StoreDraft) => Promise<T>): Promise<T> {
    const { lance } = this;
    let { nextPassage, spaces, ...fields } = this.current;
    const dropped: string[] = [];
    const tables = new Map<string, EmbeddingTable>();
    for (const { id, dimension } of spaces) {
      tables.set(id, new EmbeddingTable(lance, await this.writable(tableName(id)), dimension));
    }
    const result = await work({
      head: this.current,
      passages: new PassageTable(lance, await this.writable(PASSAGES)),
      embeddings: (space) => tables.get(space) ?? noSpace(space, spaces),
      takePids: (count) => Int32Array.from({ length: count }, () => nextPassage++),
      addSpace: async (space) => {
        const known = tables.get(space.id);
        if (known) return known;
        const name = tableName(space.id);
        const schema = embeddingSchema(lance, space.dimension);
        const { connection } = this.place;
        this.tables.set(name, await connection.createEmptyTable(name, schema, { mode: 'overwrite' }));
        const table = new EmbeddingTable(lance, await this.writable(name), space.dimension);
        tables.set(space.id, table);
        spaces = [...spaces, space];
        return table;
      },
      set: (changed) => {
        fields = { ...fields, ...changed };
      },
      removeSpace: async (id) => {
        spaces = spaces.filter((space) => space.id !== id);
        tables.delete(id);
        const bridges = fields.bridges.filter(({ from, to }) => from !== id && to !== id);
        fields = { ...fields, bridges };
        dropped.push(tableName(id));
      },
    });
    const versions: Record<string, number> = {};
    for (const name of [PASSAGES, ...spaces.map(({ id }) => tableName(id))]) {
      const table = await this.writable(name);
      versions[name] = await table.version();
      if (versions[name] !== this.current.versions[name]) await this.place.sync(name);
    }
    const head = { ...fields, versions, nextPassage, spaces };
    await this.place.head.write(head);
    this.current = head;
    // Only now: until the head is written, the space is part of the store. A kill before this leaves files that no head names.
    for (const name of dropped) await this.drop(name);
    this.reading = undefined;
    return result;
  }

  /**
   * Time before which no version of a table is needed. It is not later than that of the committed version, which stays until the
   * head names another: a process that is killed between compaction and commit must find it.
   */
  private async unneededBefore(name: string): Promise<Date> {
    const versions = await (await this.writable(name)).listVersions();
    const committed = versions.find(({ version }) => version === this.current.versions[name]);
    return new Date(Math.min(Date.now() - KEEP_MS, committed?.timestamp.getTime() ?? 0));
  }

  /** Sets the uncommitted versions of all tables aside. Needs the lock, and the newest head: else, they may be those of a commit. */
  private async rollBack(): Promise<void> {
    for (const [name, committed] of Object.entries(this.current.versions)) {
      const removed = await this.place.rollBack(name, committed);
      if (removed.length === 0) continue;
      const list = removed.join(', ');
      this.onNote(`table ${name}: version ${list}, which a writer did not finish, is set aside`);
      this.tables.get(name)?.close();
      this.tables.delete(name);
    }
  }

  private async drop(name: string): Promise<void> {
    this.tables.get(name)?.close();
    this.tables.delete(name);
    this.place.forget(name);
    await this.place.connection.dropTable(name);
  }

  private async writable(name: string): Promise<Table> {
    this.lock?.check();
    const open = this.tables.get(name) ?? (await this.openTable(name));
    this.tables.set(name, open);
    return open;
  }

  /**
   * Opens a table.
   *
   * @param version  version to read; undefined for the newest, to be changed
   * @throws DataError if it is damaged
   * @throws UndriftError if the disk refuses to read it
   */
  private async openTable(name: string, version?: number): Promise<Table> {
    try {
      const table = await this.place.connection.openTable(name);
      if (version !== undefined) await table.checkout(version);
      return table;
    } catch (cause) {
      // The disk is full, or permission is missing: a copy would not help.
      if (cause instanceof UndriftError && !(cause instanceof DataError)) throw cause;
      throw new DataError('the table cannot be read', {
        file: `${this.folder}/${name}.lance`,
        help: 'restore it from a copy, or index the documents again into a new store',
        cause,
      });
    }
  }

  /**
   * Opens the tables of the last commit. Where one cannot be read, another process may have committed since the head was read, and
   * removed the table or its version: the head is read again. A reader never moves files. If that does not help, a writer may have been
   * killed, and its uncommitted versions are set aside under the lock.
   */
  private async openSnapshot(): Promise<StoreSnapshot> {
    let damage: unknown;
    for (const pauseMs of READ_AGAIN_MS) {
      try {
        return await this.openAt(this.current);
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        damage = error;
      }
      await sleep(pauseMs);
      await this.reload();
    }
    // A commit of this store has set everything aside when it began, and would wait for itself.
    if (!this.lock) {
      await this.inTurn(async () => {}).catch((error) => {
        // In a folder that may only be read, the damage is worth more than the lock that cannot be had.
        throw error instanceof DataError ? error : damage;
      });
    }
    return await this.openAt(this.current);
  }

  private async openAt(head: StoreHead): Promise<StoreSnapshot> {
    const { lance } = this;
    const at = (name: string) => this.openTable(name, head.versions[name]);
    const tables = new Map<string, EmbeddingTable>();
    for (const { id, dimension } of head.spaces) {
      tables.set(id, new EmbeddingTable(lance, await at(tableName(id)), dimension));
    }
    return {
      head,
      passages: new PassageTable(lance, await at(PASSAGES)),
      embeddings: (space) => tables.get(space) ?? noSpace(space, head.spaces),
    };
  }
}

/** Describes the embedding space of a retriever. */
export const spaceOf = (retriever: Retriever, model: string): StoredSpace => ({
  id: embeddingSpaceId(retriever),
  dimension: retriever.dimension,
  model,
  steps: retriever.trainedSteps,
  added: Date.now(),
});

const tableName = (space: string): string => `vectors-${space}`;

async function createTables(lance: Lance, place: StorePlace, terms: StoredTerms): Promise<StoreHead> {
  const schema = passageSchema(lance);
  const passages = await place.connection.createEmptyTable(PASSAGES, schema, { mode: 'overwrite' });
  const version = await passages.version();
  passages.close();
  await place.sync(PASSAGES);
  return {
    versions: { [PASSAGES]: version },
    nextPassage: 0,
    spaces: [],
    bridges: [],
    migration: null,
    current: null,
    terms,
  };
}

function noSpace(id: string, spaces: readonly StoredSpace[]): never {
  const known = spaces.map((space) => `${space.id} (${space.model})`).join(', ');
  throw new UsageError(
    `the store has no vectors of the embedding space ${id}${known === '' ? '' : `, only of ${known}`}`,
    { help: 'index the documents with this model: undrift index --model MODEL --store STORE' },
  );
}
