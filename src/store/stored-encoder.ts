import { loadRetriever, saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { DataError } from '../util/errors.ts';
import { checkCanaries, removeCanaries } from './canaries.ts';
import type { Store } from './store.ts';

/** Folder of the store with the model that made the vectors of a space. */
export const encoderFolder = (space: string): string => `encoders/${space}`;

/** Saves a model in a store, so that queries can be embedded without the folder that it came from. */
export async function saveEncoder(store: Store, retriever: Retriever, space: string): Promise<void> {
  const folder = encoderFolder(space);
  if (await store.files.has(folder)) return;
  await store.files.save(folder, (path) => saveRetriever(path, retriever, { onnx: false }));
}

/** Removes the model of a space that is no longer part of the store. */
export async function removeEncoder(store: Store, space: string): Promise<void> {
  await store.files.remove(encoderFolder(space));
  await removeCanaries(store, space);
}

/**
 * Loads the model of a space of a store, and checks that it reproduces the vectors of the space's canary texts.
 *
 * @throws DataError if the model gives vectors of another space, or other vectors than it has given
 */
export async function loadEncoder(
  store: Store,
  space: string,
  compute: ComputeOptions = {},
): Promise<Retriever> {
  const folder = await store.files.open(encoderFolder(space));
  const retriever = await loadRetriever(folder);
  const found = embeddingSpaceId(retriever);
  if (found === space) {
    try {
      await checkCanaries(store, space, retriever, compute);
      return retriever;
    } catch (error) {
      await retriever.dispose();
      throw error;
    }
  }
  throw new DataError(
    `the model gives vectors of the embedding space ${found}, the store names it ${space}`,
    {
      file: folder,
      help: 'the folder has been changed: restore it from a copy, or index the documents again',
    },
  );
}
