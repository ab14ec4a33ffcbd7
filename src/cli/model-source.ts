import type { RetrievalProgress } from '../index/retrieve.ts';
import { findModel } from '../models/find-model.ts';
import { loadRetriever } from '../models/model-folder.ts';
import type { Retriever } from '../models/retriever.ts';
import type { Io } from './io.ts';

/** What `--model` takes, for help texts. */
export const MODEL_HELP = 'a model folder, or a training run (its best model)';

/**
 * Loads the retriever that `--model` names.
 * @param words  what `--model` takes besides folders
 */
export async function loadModel(path: string, io: Io, words: readonly string[] = []): Promise<Retriever> {
  return await loadRetriever(await findModel(path, words), { onNote: (note) => io.log(`note: ${note}`) });
}

/** Shows the stages of a retrieval. */
export const retrievalProgress =
  (io: Io) =>
  ({ stage, done, total }: RetrievalProgress): void =>
    io.progress(stage, done, { total, unit: stage === 'search' ? 'queries' : 'texts' });

/** Shows how far the reading of data files has come, all files together: nobody knows how many are still to come. */
export function loadProgress(io: Io): (progress: { bytes: number }) => void {
  let before = 0;
  let last = 0;
  return ({ bytes }) => {
    // Fewer bytes than a moment ago: another file.
    if (bytes < last) before += last;
    last = bytes;
    io.progress('read data', Math.round((before + bytes) / 1e6), { unit: 'MB' });
  };
}
