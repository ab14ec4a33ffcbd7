import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DataError, placeText } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { isObject, type Json, objectIn } from '../util/json-objects.ts';

/**
 * Format of stores, which is the only one that this version reads. Format 2 has the column `version` in tables of vectors; rows of
 * format 1 lack it.
 */
export const STORE_FORMAT = 2;

/** Embedding space of a store: the vectors that one version of an encoder made. */
export interface StoredSpace {
  /** Id of the space (see `embeddingSpaceId`). */
  readonly id: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** Model as it was named when the space was added: a folder or a repository of the hub. */
  readonly model: string;
  /** Training steps of the encoder. */
  readonly steps: number;
  /** Time at which the space was added, in milliseconds since 1970. */
  readonly added: number;
}

/**
 * Corrector between two spaces of a store: vectors of passages that are not embedded in the space `to` yet are moved there from the
 * space `from`. It lies in `correctors/FROM-TO/`.
 */
export interface StoredBridge {
  /** Space of the vectors that are moved. */
  readonly from: string;
  /** Space that they are moved to. */
  readonly to: string;
  /** Kind of corrector. */
  readonly kind: string;
  /** Number of passages that it was fitted to. */
  readonly sample: number;
  /** Mean squared distance between moved and true vectors, over passages that it was not fitted to. */
  readonly heldOutError: number;
}

/** Names of the vectors that a corrector moves during a migration. */
export const ADAPTERS = ['documents', 'queries'] as const;
/**
 * Vectors that a corrector moves during a migration. `documents`: those of passages that the new model has not embedded are moved to its
 * space. `queries`: those of the new model are moved to the former space, whose vectors stay as they are.
 */
export type Adapter = (typeof ADAPTERS)[number];

/** Migration of a store from one encoder to another. */
export interface StoredMigration {
  /** Space of the former encoder. */
  readonly from: string;
  /** Space of the new encoder. */
  readonly to: string;
  /** Time of its start, in milliseconds since 1970. */
  readonly started: number;
  /** Vectors that are moved. */
  readonly adapter: Adapter;
  /** Corrector from the new space to the former one, for queries; null in stores of versions that did not have it. */
  readonly queries: StoredBridge | null;
}

/** Settings of the index terms of a store's BM25. */
export interface StoredTerms {
  readonly language: string;
  readonly stem: boolean;
  readonly stopWords: boolean;
}

/**
 * State of a store after its last commit. Each table is read at the version that is recorded here. What a writer has added since is
 * not part of the store, so that a commit over several tables is seen as a whole or not at all.
 */
export interface StoreHead {
  /** Committed version of each table, by name. */
  readonly versions: Readonly<Record<string, number>>;
  /** Number of the next new passage. Numbers are never used again. */
  readonly nextPassage: number;
  /** Embedding spaces, in the order in which they were added. */
  readonly spaces: readonly StoredSpace[];
  /** Correctors between spaces. */
  readonly bridges: readonly StoredBridge[];
  /** Migration that is under way; null if there is none. */
  readonly migration: StoredMigration | null;
  /** Id of the space that queries are embedded in; null before the first. */
  readonly current: string | null;
  /** Settings of the index terms. */
  readonly terms: StoredTerms;
}

/** Remedy for a store of which a file is missing or damaged. */
export const RESTORE = 'restore the store from a copy, or index the documents again into a new store';

/** Reads and writes the head of a store. */
export interface HeadFile {
  /** Reads the head; undefined if there is no store. */
  read(): Promise<StoreHead | undefined>;
  /** Replaces the head, atomically and durably. */
  write(head: StoreHead): Promise<void>;
}

/** Head of a store in a folder: a JSON file that is replaced by renaming, and synced to the disk. */
export const headFile = (file: string): HeadFile => ({
  async read() {
    if (existsSync(file)) return parseHead(objectIn(await readHead(file), file), file);
    // A writer that is killed before the first head leaves no models.
    const rest = ['encoders', 'passages.lance'].map((name) => join(dirname(file), name));
    if (rest.every((path) => existsSync(path)))
      throw new DataError('the head of the store is missing', { file, help: RESTORE });
    return undefined;
  },
  async write(head) {
    await writeFileAtomic(file, formatHead(head));
  },
});

async function readHead(file: string): Promise<unknown> {
  try {
    return await readJson(file);
  } catch (error) {
    if (!(error instanceof DataError) || error.help) throw error;
    const { message, line, cause } = error;
    const text = message.slice(placeText({ file, line }).length + 2);
    throw new DataError(`the head of the store is damaged: ${text}`, { file, line, help: RESTORE, cause });
  }
}

/** Formats a head as JSON. */
export const formatHead = (head: StoreHead): string =>
  `${JSON.stringify({ undriftStore: STORE_FORMAT, ...head }, null, 2)}\n`;

/**
 * Checks the content of a head.
 *
 * @throws DataError if it is damaged, of another format, or not of a store
 */
export function parseHead(json: Json, file: string): StoreHead {
  const format = json.undriftStore;
  if (!Number.isSafeInteger(format)) {
    throw new DataError('not the head of a store: "undriftStore" is missing', {
      file,
      help: 'name a folder that undrift index has written, or an empty one',
    });
  }
  if (format !== STORE_FORMAT) {
    throw new DataError(
      `the store has format ${format}, this version of Undrift reads format ${STORE_FORMAT}`,
      {
        file,
        help:
          (format as number) > STORE_FORMAT
            ? 'a later version of Undrift has written it: update Undrift'
            : 'an earlier version of Undrift has written it: index the documents anew, into a new store',
      },
    );
  }
  const check = new Fields(file);
  const versions = check.object(json, 'versions');
  for (const name of Object.keys(versions)) check.count(versions, name);
  const spaces = check.array(json, 'spaces').map((space, i) => {
    const found = isObject(space) ? space : check.fail(`spaces[${i}]`, 'an object', space);
    return {
      id: check.text(found, 'id'),
      dimension: check.count(found, 'dimension', 1),
      model: check.text(found, 'model'),
      steps: check.count(found, 'steps'),
      added: check.count(found, 'added'),
    };
  });
  const isSpace = (id: unknown) => spaces.some((space) => space.id === id);
  const bridges = check
    .array(json, 'bridges')
    .map((bridge, i) => parseBridge(bridge, `bridges[${i}]`, check));
  const { current } = json;
  if (current !== null && !isSpace(current)) {
    check.fail('current', 'the id of one of the spaces', current);
  }
  const terms = check.object(json, 'terms');
  return {
    versions: versions as Record<string, number>,
    nextPassage: check.count(json, 'nextPassage'),
    spaces,
    bridges,
    migration: parseMigration(json, check),
    current: current as string | null,
    terms: {
      language: check.text(terms, 'language'),
      stem: check.flag(terms, 'stem'),
      stopWords: check.flag(terms, 'stopWords'),
    },
  };
}

function parseMigration(json: Json, check: Fields): StoredMigration | null {
  const { migration } = json;
  if (migration === null) return null;
  const found = isObject(migration) ? migration : check.fail('migration', 'an object or null', migration);
  return {
    from: check.text(found, 'from'),
    to: check.text(found, 'to'),
    started: check.count(found, 'started'),
    adapter:
      ADAPTERS.find((name) => name === (found.adapter ?? 'documents')) ??
      check.fail('adapter', ADAPTERS.join(' or '), found.adapter),
    queries: (found.queries ?? null) === null ? null : parseBridge(found.queries, 'migration.queries', check),
  };
}

function parseBridge(bridge: unknown, name: string, check: Fields): StoredBridge {
  const found = isObject(bridge) ? bridge : check.fail(name, 'an object', bridge);
  const { heldOutError } = found;
  if (typeof heldOutError !== 'number') check.fail('heldOutError', 'a number', heldOutError);
  return {
    from: check.text(found, 'from'),
    to: check.text(found, 'to'),
    kind: check.text(found, 'kind'),
    sample: check.count(found, 'sample'),
    heldOutError: heldOutError as number,
  };
}

/** Checks of single fields, with errors that name the file and the field. */
class Fields {
  private readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  fail(name: string, expected: string, found: unknown): never {
    throw new DataError(`"${name}" must be ${expected}, found ${JSON.stringify(found)?.slice(0, 80)}`, {
      file: this.file,
      help: 'the head of the store is damaged: restore the file from a copy, or index the documents again',
    });
  }

  text(of: Json, name: string): string {
    const value = of[name];
    return typeof value === 'string' && value !== '' ? value : this.fail(name, 'a text', value);
  }

  flag(of: Json, name: string): boolean {
    const value = of[name];
    return typeof value === 'boolean' ? value : this.fail(name, 'true or false', value);
  }

  count(of: Json, name: string, min = 0): number {
    const value = of[name];
    const isCount = Number.isSafeInteger(value) && (value as number) >= min;
    return isCount ? (value as number) : this.fail(name, `a whole number ≥ ${min}`, value);
  }

  object(of: Json, name: string): Json {
    const value = of[name];
    return isObject(value) ? value : this.fail(name, 'an object', value);
  }

  array(of: Json, name: string): readonly unknown[] {
    const value = of[name];
    return Array.isArray(value) ? value : this.fail(name, 'an array', value);
  }
}
