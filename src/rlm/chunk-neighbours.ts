import { existsSync } from 'node:fs';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import { type HostTensor, hostTensor, int32Words } from '../runtime/host-tensor.ts';
import { DataError, ShapeError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { permutation, rngKey } from '../util/rng.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import type { PassageQuery } from './leak-filter.ts';
import type { PassageSource } from './passage-source.ts';

/** Row of a neighbour that is absent. */
export const NO_NEIGHBOUR = -1;

/** Number of chunks whose neighbours are sought at once. */
const CHUNKS_PER_SEARCH = 256;

/**
 * Parts of a neighbour that are read: the chunk that was found (`neighbour`), the chunk after it in its document (`continuation`), or both.
 */
export const NEIGHBOUR_PARTS = ['both', 'neighbour', 'continuation'] as const;

/** Part of a neighbour that is read. */
export type NeighbourPart = (typeof NEIGHBOUR_PARTS)[number];

/** Neighbours of chunks: k rows of a database for each chunk, best first, `NO_NEIGHBOUR` where fewer were found. */
export interface NeighbourLists {
  /** i32[chunks, k] */
  readonly rows: Int32Array;
  /** Neighbours of a chunk, k. */
  readonly k: number;
}

/**
 * Finds the neighbours of chunks.
 *
 * @param source source over the chunks of a database, with its leak filter
 * @param count number of chunks
 * @param queryOf query of each
 * @param options.k neighbours of a chunk
 */
export async function findNeighbours(
  source: PassageSource,
  count: number,
  queryOf: (chunk: number) => PassageQuery,
  {
    k,
    ledger,
    onProgress,
  }: {
    k: number;
    ledger?: CostLedger | undefined;
    onProgress?: ((progress: Progress) => void) | undefined;
  },
): Promise<NeighbourLists> {
  const rows = new Int32Array(count * k).fill(NO_NEIGHBOUR);
  for (let start = 0; start < count; start += CHUNKS_PER_SEARCH) {
    const size = Math.min(CHUNKS_PER_SEARCH, count - start);
    const some = Array.from({ length: size }, (_, i) => queryOf(start + i));
    for (const [i, found] of (await source.find(some, k, ledger)).entries())
      rows.set(found.rows, (start + i) * k);
    ledger?.add('searches', some.length);
    onProgress?.({ stage: 'neighbours', done: start + some.length, total: count, unit: 'chunks' });
  }
  return { rows, k };
}

/** Query of a chunk of a corpus. The target is the chunk after it, which its neighbours help to predict. */
export const chunkQuery = (chunks: ChunkDatabase, row: number): PassageQuery => {
  const isLast = row + 1 >= chunks.size || chunks.document(row + 1) !== chunks.document(row);
  return {
    text: chunks.text(row),
    id: chunks.id(row),
    document: chunks.document(row),
    ...(!isLast && { target: chunks.text(row + 1) }),
  };
};

/** Facts that neighbours depend on. Stored neighbours are refused where one of them differs. */
export type NeighbourIdentity = Readonly<Record<string, string>>;

/**
 * Returns the facts that the neighbours of a corpus depend on: both collections with their tokens, the source and its leak rules, and k.
 *
 * @param settings further facts, such as the settings of the source
 */
export const neighbourIdentity = (
  chunks: ChunkDatabase,
  database: ChunkDatabase,
  settings: { readonly source: string; readonly rules: object; readonly k: number },
): NeighbourIdentity => ({
  format: 'undrift-neighbours-1',
  chunks: chunks.digest(),
  database: database === chunks ? chunks.digest() : database.digest(),
  source: settings.source,
  rules: JSON.stringify(settings.rules),
  k: String(settings.k),
});

/**
 * Returns the neighbours of a file, or computes and stores them. The file is written as a whole.
 *
 * @param file safetensors file; undefined to keep them in memory only
 * @throws DataError where the file is damaged, or holds neighbours of other data or settings
 */
export async function storedNeighbours(
  file: string | undefined,
  identity: NeighbourIdentity,
  compute: () => Promise<NeighbourLists>,
): Promise<NeighbourLists> {
  if (file === undefined) return await compute();
  if (existsSync(file)) return await readNeighbours(file, identity);
  const lists = await compute();
  await writeNeighbours(file, identity, lists);
  return lists;
}

/** Writes neighbours with the facts that they depend on, atomically. */
export async function writeNeighbours(
  file: string,
  identity: NeighbourIdentity,
  { rows, k }: NeighbourLists,
): Promise<void> {
  const tensor = { dtype: 'i32', dims: [rows.length / k, k], data: rows as Int32Array<ArrayBuffer> } as const;
  await writeSafetensors(file, { rows: tensor }, { ...identity });
}

async function readNeighbours(file: string, identity: NeighbourIdentity): Promise<NeighbourLists> {
  const { tensors, metadata } = await readSafetensors(file);
  const other = Object.keys(identity).find((name) => metadata[name] !== identity[name]);
  if (other !== undefined) {
    const found = metadata[other] ?? 'nothing';
    throw new DataError(`holds neighbours for ${other} ${found}, not ${identity[other]}`, {
      file,
      help: 'they belong to other documents, another tokenizer or other settings: remove the file, and they are computed anew',
    });
  }
  const { rows } = tensors;
  const k = Number(identity.k);
  if (rows?.dtype !== 'i32' || rows.dims.length !== 2 || rows.dims[1] !== k) {
    throw new DataError(`holds no tensor "rows" of type i32 with ${k} columns`, {
      file,
      help: 'the file is damaged: remove it, and the neighbours are computed anew',
    });
  }
  return { rows: rows.data as Int32Array, k };
}

/**
 * Gives each chunk the neighbours of another chunk: a control with equal parameters and equally common neighbours, but without their
 * meaning. Neighbours from the chunk's own document become absent.
 */
export function shuffledNeighbours(
  { rows, k }: NeighbourLists,
  seed: number,
  documents: { readonly of: (chunk: number) => string; readonly database: ChunkDatabase },
): NeighbourLists {
  const order = permutation(rngKey(seed, 0, 'shuffled neighbours'), rows.length / k);
  const shuffled = new Int32Array(rows.length);
  for (const [chunk, other] of order.entries()) {
    const own = documents.of(chunk);
    for (let i = 0; i < k; i++) {
      const row = rows[other * k + i]!;
      const isOwn = row !== NO_NEIGHBOUR && documents.database.document(row) === own;
      shuffled[chunk * k + i] = isOwn ? NO_NEIGHBOUR : row;
    }
  }
  return { rows: shuffled, k };
}

/** Sizes of a batch of neighbours. */
export interface NeighbourDims {
  /** Texts, B. */
  readonly texts: number;
  /** Chunks of each text, l. */
  readonly chunks: number;
  /** Neighbours of each chunk, k. */
  readonly k: number;
}

/**
 * Makes the inputs of a program that reads neighbours: `neighbours/ids` i64[B, l, k, 2m] and `neighbours/mask` f32[B, l, k, 2m].
 *
 * @param rows i32[B, l, k]: rows of the database, `NO_NEIGHBOUR` for none
 * @param part part of each neighbour that is read; the other one is masked
 */
export function neighbourFeeds(
  database: ChunkDatabase,
  rows: Int32Array,
  { texts, chunks, k }: NeighbourDims,
  part: NeighbourPart = 'both',
): Record<string, HostTensor> {
  if (rows.length !== texts * chunks * k)
    throw new ShapeError(`${rows.length} neighbours for ${texts} texts of ${chunks} chunks with ${k} each`);
  const m = database.chunkTokens;
  const dims = [texts, chunks, k, 2 * m];
  const ids = new BigInt64Array(rows.length * 2 * m);
  const words = int32Words(ids);
  const mask = new Float32Array(ids.length);
  for (const [i, row] of rows.entries()) {
    if (row === NO_NEIGHBOUR) continue;
    const tokens = database.continued(row);
    const place = i * 2 * m;
    for (let t = 0; t < tokens.length; t++) words[2 * (place + t)] = tokens[t]!;
    const from = part === 'continuation' ? m : 0;
    const to = part === 'neighbour' ? Math.min(m, tokens.length) : tokens.length;
    if (from < to) mask.fill(1, place + from, place + to);
  }
  return {
    'neighbours/ids': hostTensor('i64', dims, ids),
    'neighbours/mask': hostTensor('f32', dims, mask),
  };
}
