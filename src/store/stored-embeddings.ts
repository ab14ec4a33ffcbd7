import type { StoredEmbeddings } from '../models/retriever/stored-embeddings.ts';
import { NONE } from '../util/vector-rows.ts';
import type { EmbeddingRows } from './columns.ts';
import type { StoreSnapshot } from './store.ts';

/**
 * Opens the embeddings of a space for documents that are passages of a store.
 *
 * @param pids  number of the passage of each document, ascending
 * @returns  undefined where the store does not have the space
 */
export async function openStoredEmbeddings(
  snapshot: StoreSnapshot,
  space: string,
  pids: Int32Array,
): Promise<StoredEmbeddings | undefined> {
  if (!snapshot.head.spaces.some(({ id }) => id === space)) return undefined;
  const table = snapshot.embeddings(space);
  const D = table.dimension;
  const count = await table.count();
  return {
    count,
    async read(documents) {
      const embeddings = new Float32Array(documents.length * D);
      const position = new Int32Array(snapshot.head.nextPassage).fill(NONE);
      for (const [i, document] of documents.entries()) position[pids[document]!] = i;
      const take = (part: Pick<EmbeddingRows, 'pids' | 'vectors'>) => {
        for (const [row, pid] of part.pids.entries()) {
          const at = position[pid]!;
          if (at === NONE) continue;
          embeddings.set(part.vectors.subarray(row * D, (row + 1) * D), at * D);
          position[pid] = NONE;
        }
      };
      // Most of a table is read faster as a whole than by numbers.
      const wanted = Array.from(documents, (document) => pids[document]!);
      const parts = 4 * documents.length > count ? table.stream() : table.read(wanted);
      for await (const part of parts) take(part);
      const absent = Uint32Array.from(documents, (_, i) => i).filter(
        (i) => position[pids[documents[i]!]!] !== NONE,
      );
      return { embeddings, absent };
    },
  };
}
