import type { LoadOptions } from '../data/load-options.ts';
import { findModel } from '../models/folder/find-model.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { RetrievalProgress } from '../retrieval/retrieve.ts';
import type { Io } from './io.ts';

/** What `--model` takes, for help texts. */
export const MODEL_HELP =
  'a model folder, a training run (its best model), or a name on the Hugging Face hub (organisation/name@revision)';

/**
 * The folder of the model that `--model` names.
 * @param words  what `--model` takes besides folders and names on the hub
 */
export async function modelFolder(
  path: string,
  io: Io,
  words: readonly string[] = [],
  flag?: string,
): Promise<string> {
  return await findModel(path, words, {
    ...(flag && { flag }),
    onProgress: downloadProgress(io),
    onNote: (note) => io.log(`note: ${note}`),
  });
}

/** What a model is to be other than its folder says. */
export interface ModelChoices {
  /** Leading dimensions of the vectors that are kept. */
  readonly dimensions?: number | undefined;
  readonly queryPrompt?: string | undefined;
  readonly docPrompt?: string | undefined;
}

/**
 * Loads the retriever that `--model` names.
 * @param words  see `modelFolder`
 */
export async function loadModel(
  path: string,
  io: Io,
  words: readonly string[] = [],
  { flag, ...choices }: { flag?: string } & ModelChoices = {},
): Promise<Retriever> {
  return await loadFolder(await modelFolder(path, io, words, flag), io, choices);
}

/** Loads the retriever in a folder. */
export const loadFolder = (
  folder: string,
  io: Io,
  { dimensions, queryPrompt, docPrompt }: ModelChoices = {},
): Promise<Retriever> =>
  loadRetriever(folder, {
    ...(dimensions !== undefined && { dimensions }),
    prompts: {
      ...(queryPrompt !== undefined && { query: queryPrompt }),
      ...(docPrompt !== undefined && { document: docPrompt }),
    },
    onNote: (note) => io.log(`note: ${note}`),
  });

/** Shows how far a download has come. */
export const downloadProgress =
  (io: Io) =>
  ({ done, total }: { done: number; total: number }): void => {
    const [bytes, unit] = total < 1e7 ? ([1e3, 'kB'] as const) : ([1e6, 'MB'] as const);
    io.progress('download', Math.floor(done / bytes), { total: Math.ceil(total / bytes), unit });
  };

/** Shows the stages of a retrieval. */
export const retrievalProgress =
  (io: Io) =>
  ({ stage, done, total }: RetrievalProgress): void =>
    io.progress(stage, done, { total, unit: stage === 'search' ? 'queries' : 'texts' });

/** What the commands tell of the data that they read. */
export const readOptions = (io: Io): Pick<LoadOptions, 'onProgress' | 'onDownload' | 'onNote'> => ({
  onProgress: loadProgress(io),
  onDownload: downloadProgress(io),
  onNote: (note) => io.log(`note: ${note}`),
});

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
