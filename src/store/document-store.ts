import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { StoredEmbeddings } from '../models/retriever/stored-embeddings.ts';
import type { Progress } from '../util/progress.ts';
import { SpillFile } from '../util/spill-file.ts';
import { Store, type StoreSnapshot } from './store.ts';
import { readStoredDocuments, type StoredDocuments } from './stored-documents.ts';
import { openStoredEmbeddings } from './stored-embeddings.ts';

/**
 * Store that training and mining take their documents from. Texts and token ids lie in a file, so that a corpus larger than memory trains.
 *
 * Memory: about 60 bytes and the id for each passage.
 */
export class DocumentStore {
  /** Documents, in the order in which they were added to the store. */
  readonly documents: StoredDocuments;
  /** File of the texts, which takes token ids as well. */
  readonly spill: SpillFile;
  private readonly store: Store;
  private readonly snapshot: StoreSnapshot;

  private constructor(
    store: Store,
    parts: { snapshot: StoreSnapshot; documents: StoredDocuments; spill: SpillFile },
  ) {
    this.store = store;
    this.snapshot = parts.snapshot;
    this.documents = parts.documents;
    this.spill = parts.spill;
  }

  /**
   * Reads the passages of a store as of its last commit.
   *
   * @param location  store
   * @param folder  existing folder for the file of the texts
   */
  static async open(
    location: string,
    folder: string,
    {
      onNote,
      onProgress,
    }: {
      readonly onNote?: ((note: string) => void) | undefined;
      readonly onProgress?: ((progress: Progress) => void) | undefined;
    } = {},
  ): Promise<DocumentStore> {
    const store = await Store.open(location, { onNote });
    let spill: SpillFile | undefined;
    try {
      const snapshot = await store.snapshot();
      spill = SpillFile.create(folder);
      const documents = await readStoredDocuments(snapshot, location, { spill, onProgress });
      return new DocumentStore(store, { snapshot, documents, spill });
    } catch (error) {
      spill?.close();
      await store.close();
      throw error;
    }
  }

  /** Opens the vectors of the store that a retriever has made with its present weights; undefined if there are none. */
  async embeddings(retriever: Retriever): Promise<StoredEmbeddings | undefined> {
    return await openStoredEmbeddings(this.snapshot, embeddingSpaceId(retriever), this.documents.pids);
  }

  /** Closes the store, and gives the disk space of the file back. */
  async close(): Promise<void> {
    this.spill.close();
    await this.store.close();
  }
}
