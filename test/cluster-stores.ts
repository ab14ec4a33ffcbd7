import { join } from 'node:path';
import { embeddingSpaceId } from '../src/models/retriever/embedding-space.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { indexPassages, upsertPassages } from '../src/store/index-passages.ts';
import { type PassageInput, PassageRows } from '../src/store/passage-input.ts';
import { Store, spaceOf } from '../src/store/store.ts';
import { saveEncoder } from '../src/store/stored-encoder.ts';
import { phraseText } from './small-models.ts';
import { tempFiles } from './temp-files.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };

/** Passages of different lengths. */
export const clusterPassages = (count: number): PassageInput[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `p${i}`,
    text: phraseText(Array.from({ length: 1 + ((i * 7) % 11) }, (_, k) => i * 13 + k * 29)),
  }));

/** Makes a store with passages and the space of a model, none of which is embedded. */
export async function storeWithoutVectors(
  retriever: Retriever,
  passages: readonly PassageInput[],
): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  const space = spaceOf(retriever, 'small');
  await saveEncoder(store, retriever, space.id);
  const rows = new PassageRows(TERMS);
  await store.commit(async (draft) => {
    await draft.addSpace(space);
    draft.set({ current: space.id });
    await upsertPassages(draft, passages, rows);
  });
  return store;
}

/** Vectors of all passages as local indexing makes them, by id. */
export async function localVectors(
  retriever: Retriever,
  passages: readonly PassageInput[],
): Promise<Map<string, Float32Array>> {
  const store = await Store.open(join(tempFiles(), 'local'), { create: TERMS });
  await indexPassages(store, retriever, passages, { threads: 1 });
  const vectors = await vectorsOf(store, embeddingSpaceId(retriever));
  await store.close();
  return vectors;
}

/** Reads the vectors of a space by the ids of their passages. */
export async function vectorsOf(store: Store, space: string): Promise<Map<string, Float32Array>> {
  await store.reload();
  const { passages, embeddings } = await store.snapshot();
  const ids = new Map<number, string>();
  for await (const { pid, id } of passages.ids()) ids.set(pid, id);
  const found = new Map<string, Float32Array>();
  const table = embeddings(space);
  const D = table.dimension;
  for await (const { pids, vectors } of table.stream())
    for (const [row, pid] of pids.entries()) found.set(ids.get(pid)!, vectors.slice(row * D, (row + 1) * D));
  return found;
}
