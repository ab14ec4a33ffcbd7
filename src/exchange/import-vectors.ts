import { changeState, stateOf } from '../foreign/store-state.ts';
import type { VectorStore, WrittenVector } from '../foreign/vector-store.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { upsertPassages } from '../store/index-passages.ts';
import { type PassageInput, PassageRows } from '../store/passage-input.ts';
import { type Store, type StoreDraft, spaceOf } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { saveEncoder } from '../store/stored-encoder.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import type { PlacedRow } from './read-rows.ts';

/** Settings of {@link importVectors} and {@link importToDatabase}. */
export interface ImportVectorsOptions {
  /** Model of the vectors; needed for a space that the store does not have yet. */
  readonly retriever?: Retriever | undefined;
  /** Name of this model, to be shown to users. Default `(memory)`. */
  readonly model?: string | undefined;
  /** Aborting ends the work after the current commit. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every commit, with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Counts of an import. */
export interface ImportCounts {
  /** Id of the space; null if the file has no rows. */
  readonly space: string | null;
  /** Rows read. */
  readonly read: number;
  /** Passages that were added. */
  readonly added: number;
  /** Passages that were replaced, because their texts or fields have changed. */
  readonly changed: number;
  /** Vectors that were stored. */
  readonly vectors: number;
  /** Corrected vectors that were left out: a store keeps true vectors only. */
  readonly correctedLeftOut: number;
}

/** Rows of one commit. */
const PART_ROWS = 2048;

/**
 * Stores vectors that were made elsewhere, with their stamps, and passages that come with them. Each part is one commit; an import that
 * was stopped goes on when it is given again. A vector of a later training step is not replaced by an earlier one.
 *
 * @param rows  see {@link readRows}
 * @throws DataError with file and line for a vector of another space or dimension, for an id that occurs twice, and for an unknown id
 *   without a text
 * @throws UsageError if the store does not know the space, and no model is given or it is of another space
 */
export async function importVectors(
  store: Store,
  rows: AsyncIterable<PlacedRow>,
  options: ImportVectorsOptions = {},
): Promise<ImportCounts> {
  let counts = EMPTY;
  let space: StoredSpace | undefined;
  const passageRows = new PassageRows(store.head.terms);
  for await (const part of inParts(rows)) {
    space ??= await knownSpace(store, part[0]!, options);
    checkRows(part, space);
    const stored = space;
    const done = await store.commit((draft) => importPart(draft, part, stored, passageRows));
    counts = sum(counts, { ...done, space: space.id });
    options.onProgress?.({ stage: 'import', done: counts.read, total: undefined, unit: 'passages' });
    if (options.signal?.aborted) break;
  }
  if (space) await store.optimize();
  return counts;
}

/**
 * Stores vectors that were made elsewhere in a database that has their rows.
 *
 * @throws DataError with file and line, as {@link importVectors} does, and for a text that differs from that of the database
 * @throws UsageError if the database does not know the space, and no model is given or the database has vectors of another
 */
export async function importToDatabase(
  store: VectorStore,
  rows: AsyncIterable<PlacedRow>,
  options: ImportVectorsOptions = {},
): Promise<ImportCounts> {
  let counts = EMPTY;
  let space: StoredSpace | undefined;
  for await (const part of inParts(rows)) {
    space ??= await spaceInDatabase(store, part[0]!, options);
    checkRows(part, space);
    const ids = part.map(({ id }) => id);
    const found = await store.read({ space: null, texts: true, after: null, limit: ids.length, ids });
    const known = new Map(found.map((row) => [row.id, row]));
    const written = part.map((row): WrittenVector => {
      const present = known.get(row.id);
      if (!present) throw new DataError(`${store.name} has no row ${JSON.stringify(row.id)}`, row);
      if (row.text !== null && row.text !== (present.text ?? '')) {
        throw new DataError(`the text of ${JSON.stringify(row.id)} is another one in ${store.name}`, {
          ...row,
          help: 'its vector would be that of a former text: embed it again, or leave the row out',
        });
      }
      const { id, vector: values, step, time, corrected } = row;
      return { id, version: present.version, values, step, time, corrected };
    });
    await store.write(space, written);
    counts = sum(counts, { ...EMPTY, read: part.length, vectors: part.length, space: space.id });
    options.onProgress?.({ stage: 'import', done: counts.read, total: undefined, unit: 'passages' });
    if (options.signal?.aborted) break;
  }
  return counts;
}

const EMPTY: ImportCounts = { space: null, read: 0, added: 0, changed: 0, vectors: 0, correctedLeftOut: 0 };

const sum = (a: ImportCounts, b: ImportCounts): ImportCounts => ({
  space: b.space,
  read: a.read + b.read,
  added: a.added + b.added,
  changed: a.changed + b.changed,
  vectors: a.vectors + b.vectors,
  correctedLeftOut: a.correctedLeftOut + b.correctedLeftOut,
});

async function importPart(
  draft: StoreDraft,
  part: readonly PlacedRow[],
  space: StoredSpace,
  rows: PassageRows,
): Promise<ImportCounts> {
  const passages = part.flatMap(({ text, title, ...row }): PassageInput[] =>
    text === null ? [] : [{ ...row, text, title: title ?? '' }],
  );
  const { numbered, added, changed } = await upsertPassages(draft, passages, rows);
  const bare = part.filter(({ text }) => text === null);
  const known = await draft.passages.known(bare.map(({ id }) => id));
  const pidOf = (row: PlacedRow): number => {
    const pid = numbered.get(row.id) ?? known.get(row.id)?.pid;
    if (pid !== undefined) return pid;
    throw new DataError(`the store has no passage ${JSON.stringify(row.id)}, and the row has no text`, {
      ...row,
      help: 'export with texts, or index the documents first',
    });
  };
  const pids = part.map(pidOf);
  const kept = [...part.keys()].filter((i) => !part[i]!.corrected);
  const vectors = new Float32Array(kept.length * space.dimension);
  for (const [at, i] of kept.entries()) vectors.set(part[i]!.vector, at * space.dimension);
  await draft.embeddings(space.id).put({
    pids: Int32Array.from(kept, (i) => pids[i]!),
    vectors,
    steps: Int32Array.from(kept, (i) => part[i]!.step),
    times: Float64Array.from(kept, (i) => part[i]!.time),
  });
  return {
    space: space.id,
    read: part.length,
    added,
    changed,
    vectors: kept.length,
    correctedLeftOut: part.length - kept.length,
  };
}

/** Finds the space of the rows in a store, or adds it with its model. */
async function knownSpace(
  store: Store,
  first: PlacedRow,
  options: ImportVectorsOptions,
): Promise<StoredSpace> {
  const known = store.space(first.space);
  if (known) {
    if (options.retriever) modelSpace(first, options);
    return known;
  }
  const { retriever } = options;
  if (!retriever) throw unknownSpace(store.folder, first);
  const space = modelSpace(first, options);
  await saveEncoder(store, retriever, space.id);
  await store.commit(async (draft) => {
    await draft.addSpace(space);
    if (draft.head.current === null) draft.set({ current: space.id });
  });
  return space;
}

async function spaceInDatabase(
  store: VectorStore,
  first: PlacedRow,
  options: ImportVectorsOptions,
): Promise<StoredSpace> {
  const [state, facts] = [await stateOf(store), await store.describe()];
  const known = state.spaces.find(({ id }) => id === first.space);
  if (known) return known;
  const hasVectors = state.current !== null || (facts.original?.rows ?? 0) > 0;
  if (hasVectors) {
    throw new UsageError(`${store.name} has vectors of another space than ${first.space}`, {
      help: 'start a migration to its model first: undrift migrate start --store STORE --to MODEL',
    });
  }
  if (!options.retriever) throw unknownSpace(store.name, first);
  const space = modelSpace(first, options);
  await store.write(space, []);
  await changeState(store, state, { spaces: [space], current: space.id });
  return space;
}

/** Describes the space of the model that was given. @throws UsageError if it is not that of the rows */
function modelSpace(first: PlacedRow, { retriever, model = '(memory)' }: ImportVectorsOptions): StoredSpace {
  const found = embeddingSpaceId(retriever!);
  if (found === first.space) return spaceOf(retriever!, model);
  throw new UsageError(`${first.file} has vectors of the space ${first.space}, the model is of ${found}`, {
    help: `name the model that made the vectors as ${option('model')}`,
  });
}

const unknownSpace = (store: string, { file, space }: PlacedRow) =>
  new UsageError(`${file} has vectors of the embedding space ${space}, which ${store} does not know`, {
    help: `name the model that made them as ${option('model')}, so that queries can be embedded`,
  });

/** Checks that the rows are of one space. */
function checkRows(part: readonly PlacedRow[], { id, dimension }: StoredSpace): void {
  for (const row of part) {
    if (row.space !== id) {
      throw new DataError(`the vector is of the space ${row.space}, those before are of ${id}`, {
        ...row,
        help: 'a file has vectors of one space: make one for each',
      });
    }
    if (row.vector.length !== dimension) {
      throw new DataError(
        `the vector has ${row.vector.length} dimensions, the space ${id} has ${dimension}`,
        row,
      );
    }
  }
}

/** Collects rows in parts. @throws DataError for an empty id, and for one that occurs twice */
async function* inParts(rows: AsyncIterable<PlacedRow>): AsyncGenerator<PlacedRow[]> {
  const seen = new Set<string>();
  let part: PlacedRow[] = [];
  for await (const row of rows) {
    if (row.id === '') throw new DataError('a row needs an id that is not empty', row);
    if (seen.has(row.id)) throw new DataError(`id ${JSON.stringify(row.id)} was used before`, row);
    seen.add(row.id);
    part.push(row);
    if (part.length < PART_ROWS) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}
