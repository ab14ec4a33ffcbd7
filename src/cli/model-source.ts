import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RetrievalProgress } from '../index/retrieve.ts';
import { loadRetriever } from '../models/model-folder.ts';
import type { Retriever } from '../models/retriever.ts';
import { UsageError } from '../util/errors.ts';
import { recoverFolder } from '../util/files.ts';
import type { Io } from './io.ts';

/** What `--model` takes, for help texts. */
export const MODEL_HELP = 'a model folder, or a training run (its best model)';

/** Any of these makes a folder a model's. */
const MODEL_FILES = ['undrift.json', 'modules.json', 'config.json'];

/**
 * The folder of a model; where a training run is named, that of its best model.
 * @throws UsageError where there is neither
 */
export async function modelFolder(path: string): Promise<string> {
  const isModel = (folder: string) => MODEL_FILES.some((name) => existsSync(join(folder, name)));
  const inRun = join(path, 'model');
  await recoverFolder(inRun);
  // A run keeps files of its own beside the model: the folder inside goes first.
  if (isModel(inRun)) return inRun;
  if (isModel(path)) return path;
  if (existsSync(path)) {
    throw new UsageError(
      `--model ${path}: neither a model folder (no ${MODEL_FILES.join(', ')}) nor a training run (no model/)`,
      { help: 'a training run has a model after its first evaluation, or at its end' },
    );
  }
  throw new UsageError(`--model ${path}: no such folder`, {
    help: 'name a training run, a model folder, or bm25',
  });
}

/** Loads the retriever that `--model` names. */
export async function loadModel(path: string, io: Io): Promise<Retriever> {
  return await loadRetriever(await modelFolder(path), { onNote: (note) => io.log(`note: ${note}`) });
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
