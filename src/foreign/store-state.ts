import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Corrector } from '../correctors/corrector.ts';
import { type CorrectorDescription, loadCorrector, saveCorrector } from '../correctors/corrector-folder.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { DataError, UsageError } from '../util/errors.ts';
import {
  ORIGINAL,
  type StoredFiles,
  type VectorMigration,
  type VectorRow,
  type VectorStore,
  type VectorStoreState,
} from './vector-store.ts';

const EMPTY: VectorStoreState = {
  revision: 0,
  original: null,
  spaces: [],
  current: null,
  migration: null,
  bridge: null,
};

/** Reads the state of a database; an empty one if it has none. */
export const stateOf = async (store: VectorStore): Promise<VectorStoreState> =>
  (await store.readState()) ?? EMPTY;

/** Changes some fields of a state, stores it, and returns it. */
export async function changeState(
  store: VectorStore,
  state: VectorStoreState,
  fields: Partial<Omit<VectorStoreState, 'revision'>>,
): Promise<VectorStoreState> {
  const changed = { ...state, ...fields, revision: state.revision + 1 };
  await store.writeState(changed);
  return changed;
}

/** Finds a space by its id; undefined if the state has none such. */
export const spaceIn = ({ original, spaces }: VectorStoreState, id: string | null): StoredSpace | undefined =>
  [...spaces, ...(original ? [original] : [])].find((space) => space.id === id);

/** Name by which the vectors of a space are read: its id, or `ORIGINAL`. */
export const placeOf = ({ original, spaces }: VectorStoreState, id: string): string =>
  original?.id === id && !spaces.some((space) => space.id === id) ? ORIGINAL : id;

/** Returns the migration that is under way. @throws UsageError if none is */
export function migrationIn(state: VectorStoreState, store: VectorStore): VectorMigration {
  if (state.migration) return state.migration;
  throw new UsageError(`no migration of ${store.name} is under way`, {
    help: 'start one: undrift migrate start --store STORE --to MODEL',
  });
}

/** Reads all rows of a request in pages. */
export async function* pages(
  store: VectorStore,
  request: Omit<Parameters<VectorStore['read']>[0], 'after' | 'limit'>,
  limit: number,
): AsyncGenerator<VectorRow[]> {
  let after: string | null = null;
  for (;;) {
    const rows: VectorRow[] = await store.read({ ...request, after, limit });
    if (rows.length > 0) yield rows;
    if (rows.length < limit) return;
    after = rows.at(-1)!.id;
  }
}

/** Distance of a norm from 1 up to which a vector counts as one of unit norm: half precision rounds as much. */
const NORM_TOLERANCE = 2e-3;

/**
 * Copies the vectors of rows that have one into one array. Vectors that are not of unit norm are scaled to it.
 *
 * @returns  the rows, and their vectors f32[n, D]
 * @throws DataError for a vector of another dimension, with a number that is not finite, or of zeros
 */
export function unitVectors(
  rows: readonly VectorRow[],
  { id, dimension }: StoredSpace,
  store: VectorStore,
): { rows: readonly VectorRow[]; vectors: Float32Array<ArrayBuffer> } {
  const kept = rows.filter(({ vector }) => vector !== null);
  const vectors = new Float32Array(kept.length * dimension);
  for (const [i, row] of kept.entries()) {
    const { values } = row.vector!;
    const faulty = (message: string) =>
      new DataError(`the vector of row ${JSON.stringify(row.id)} ${message}`, {
        file: store.name,
        help: `embed the text of this row again, or set its vector to null; it should be of the space ${id}`,
      });
    if (values.length !== dimension)
      throw faulty(`has ${values.length} dimensions, the space has ${dimension}`);
    let square = 0;
    for (const value of values) square += value * value;
    const norm = Math.sqrt(square);
    if (!Number.isFinite(norm)) throw faulty('has a number that is not finite');
    if (norm === 0) throw faulty('is zero');
    const scale = Math.abs(norm - 1) > NORM_TOLERANCE ? 1 / norm : 1;
    for (const [d, value] of values.entries()) vectors[i * dimension + d] = value * scale;
  }
  return { rows: kept, vectors };
}

/** Saves a corrector as the files of its folder. */
export async function packCorrector(
  corrector: Corrector,
  description: CorrectorDescription,
): Promise<StoredFiles> {
  return await inTemporaryFolder(async (folder) => {
    await saveCorrector(join(folder, 'corrector'), corrector, description);
    const names = await readdir(join(folder, 'corrector'));
    const read = async (name: string) => await readFile(join(folder, 'corrector', name), 'base64');
    return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(name)])));
  });
}

/** Loads the corrector of a migration. @throws DataError if its files are damaged */
export async function unpackCorrector(
  { bridge }: VectorStoreState,
  store: VectorStore,
  compute: ComputeOptions,
): Promise<Corrector> {
  if (!bridge) throw new DataError('the state has no corrector of this migration', { file: store.name });
  return await inTemporaryFolder(async (folder) => {
    for (const [name, content] of Object.entries(bridge.files)) {
      // Names come from the database, and must not lead out of the folder.
      if (!/^[a-z]+\.[a-z]+$/.test(name))
        throw new DataError(`the state has a file ${name}`, { file: store.name });
      await writeFile(join(folder, name), content, 'base64');
    }
    const { corrector } = await loadCorrector(folder, {
      fromSpace: bridge.from,
      toSpace: bridge.to,
      compute,
    });
    return corrector;
  });
}

async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'undrift-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
