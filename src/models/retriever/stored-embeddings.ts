import type { TokenStore } from '../../text/token-store.ts';
import type { EncodeOptions, Retriever } from './retriever.ts';

/** Embeddings of documents that a retriever has made earlier, such as those of a store. */
export interface StoredEmbeddings {
  /** Number of documents that have one. */
  readonly count: number;
  /**
   * Reads the embeddings of some documents.
   *
   * @param documents  rows of the documents, each once
   * @returns  f32[documents, D], with zeros for documents that have none; and the positions of these in `documents`, ascending
   */
  read(documents: Uint32Array): Promise<{ readonly embeddings: Float32Array; readonly absent: Uint32Array }>;
}

/**
 * Embeds documents, except for those that are stored, whose embeddings are read.
 *
 * @param documents.store  tokens of all documents, by row
 * @param documents.rows  rows to embed, each once
 * @param options.onEncodes  called with the number of documents that are not stored
 * @returns  f32[rows, D]
 */
export async function encodeUnlessStored(
  retriever: Retriever,
  { store, rows }: { readonly store: TokenStore; readonly rows: Uint32Array },
  {
    stored,
    onEncodes,
    ...options
  }: Omit<EncodeOptions, 'rows' | 'out' | 'weights'> & {
    readonly stored?: StoredEmbeddings | undefined;
    readonly onEncodes: (count: number) => void;
  },
): Promise<Float32Array> {
  const found = await stored?.read(rows);
  const absent = found ? found.absent.map((position) => rows[position]!) : rows;
  onEncodes(absent.length);
  if (found && absent.length === 0) return found.embeddings;
  const made = await retriever.encodeTokens('document', store, { ...options, rows: absent });
  if (!found) return made;
  const D = retriever.dimension;
  for (const [i, position] of found.absent.entries())
    found.embeddings.set(made.subarray(i * D, (i + 1) * D), position * D);
  return found.embeddings;
}
