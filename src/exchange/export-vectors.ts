import { pages, placeOf, spaceIn, stateOf } from '../foreign/store-state.ts';
import type { VectorStore } from '../foreign/vector-store.ts';
import type { Store } from '../store/store.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { ExchangeFormat, ExchangeRow, ExchangeSource } from './exchange-row.ts';
import { writeRows } from './write-rows.ts';

/** Settings of {@link exportVectors}. */
export interface ExportVectorsOptions {
  /** Format of the file. */
  readonly format: ExchangeFormat;
  /** Called with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Settings of the sources of an export. */
export interface ExportSourceOptions {
  /** Id of the space. Default the current one. */
  readonly space?: string | undefined;
  /** Whether titles, texts and metadata are exported too. Default true. */
  readonly texts?: boolean | undefined;
}

/** Passages that are read at once. */
const PART_ROWS = 2048;

/**
 * Writes vectors of one space with their ids and stamps to a file (JSONL, Parquet) or a folder (.npy). It appears under its name when
 * it is complete. Memory is bounded whatever the number of rows.
 *
 * @param source  see {@link storeVectors} and {@link databaseVectors}
 * @returns  number of rows
 * @throws DataError for a vector with a number that is not finite
 */
export async function exportVectors(
  source: ExchangeSource,
  path: string,
  { format, onProgress }: ExportVectorsOptions,
): Promise<number> {
  const { total } = source;
  return await writeRows(path, format, source, (done) =>
    onProgress?.({ stage: 'export', done, total, unit: 'passages' }),
  );
}

/**
 * Vectors of a store, as of its last commit, in the order of its table.
 *
 * @throws UsageError if the store has no such space
 */
export async function storeVectors(
  store: Store,
  { space: wanted, texts = true }: ExportSourceOptions = {},
): Promise<ExchangeSource> {
  const { head, passages, embeddings } = await store.snapshot();
  const id = wanted ?? head.current;
  const space = head.spaces.find((known) => known.id === id);
  if (!space) throw noSpace(store.folder, id, head.spaces);
  const table = embeddings(space.id);
  return {
    space,
    total: await table.count(),
    async *rows() {
      for await (const { pids, vectors, steps, times } of table.stream()) {
        for (let start = 0; start < pids.length; start += PART_ROWS) {
          const part = Array.from(pids.subarray(start, start + PART_ROWS));
          const found = new Map((await passages.read(part)).map((passage) => [passage.pid, passage]));
          yield part.flatMap((pid, i): ExchangeRow[] => {
            const passage = found.get(pid);
            if (!passage) return [];
            const row = start + i;
            return [
              {
                id: passage.id,
                title: texts ? passage.title : null,
                text: texts ? passage.text : null,
                metadata: texts ? passage.metadata : null,
                space: space.id,
                step: steps[row]!,
                time: times[row]!,
                corrected: false,
                vector: checked(
                  vectors.slice(row * space.dimension, (row + 1) * space.dimension),
                  passage.id,
                  store.folder,
                ),
              },
            ];
          });
        }
      }
    },
  };
}

/**
 * Vectors of a database, in the order of its ids.
 *
 * @throws UsageError if the database has no such space
 */
export async function databaseVectors(
  store: VectorStore,
  { space: wanted, texts = true }: ExportSourceOptions = {},
): Promise<ExchangeSource> {
  const state = await stateOf(store);
  const space = spaceIn(state, wanted ?? state.current);
  if (!space)
    throw noSpace(store.name, wanted ?? null, [...state.spaces, ...(state.original ? [state.original] : [])]);
  const place = placeOf(state, space.id);
  const facts = await store.describe();
  return {
    space,
    total: facts.spaces.find(({ id }) => id === place)?.rows ?? facts.original?.rows ?? 0,
    async *rows() {
      for await (const page of pages(store, { space: place, texts }, PART_ROWS)) {
        yield page.flatMap(({ id, title, text, vector }): ExchangeRow[] => {
          if (!vector) return [];
          const { values, step, time, corrected } = vector;
          if (values.length !== space.dimension) {
            throw new DataError(
              `the vector of row ${JSON.stringify(id)} has ${values.length} dimensions, the space has ${space.dimension}`,
              { file: store.name },
            );
          }
          return [
            {
              id,
              title: texts ? title : null,
              text,
              metadata: null,
              space: space.id,
              step,
              time,
              corrected,
              vector: checked(values, id, store.name),
            },
          ];
        });
      }
    },
  };
}

function checked(vector: Float32Array, id: string, file: string): Float32Array {
  if (vector.every((value) => Number.isFinite(value))) return vector;
  throw new DataError(`the vector of ${JSON.stringify(id)} has a number that is not finite`, {
    file,
    help: 'embed its text again',
  });
}

function noSpace(
  store: string,
  id: string | null,
  spaces: readonly { id: string; model: string }[],
): UsageError {
  const known = spaces.map((space) => `${space.id} (${space.model})`).join(', ');
  return new UsageError(
    id === null
      ? `${store} names no model of its vectors`
      : `${store} has no vectors of the embedding space ${id}`,
    {
      help: known === '' ? 'embed its texts: undrift index --model MODEL --store STORE' : `spaces: ${known}`,
    },
  );
}
