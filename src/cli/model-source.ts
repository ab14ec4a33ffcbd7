import type { LoadOptions } from '../data/load-options.ts';
import { findModel } from '../models/folder/find-model.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { Progress } from '../util/progress.ts';
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
  option?: string,
): Promise<string> {
  return await findModel(path, words, {
    ...(option && { option }),
    onProgress: loadProgress(io),
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
  { option, ...choices }: { option?: string } & ModelChoices = {},
): Promise<Retriever> {
  return await loadFolder(await modelFolder(path, io, words, option), io, choices);
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

/** Shows every stage by its own name, with what is counted. */
export const showProgress =
  (io: Io) =>
  ({ stage, done, total, unit }: Progress): void =>
    io.progress(stage, done, { total, unit });

/** What the commands tell of the data that they read. */
export const readOptions = (io: Io): Pick<LoadOptions, 'onProgress' | 'onNote'> => ({
  onProgress: loadProgress(io),
  onNote: (note) => io.log(`note: ${note}`),
});

/**
 * Shows how far bytes have come that are downloaded or read from the disk. Files that are read are shown as one sum without a total,
 * since nobody knows how many are still to come.
 */
export function loadProgress(io: Io): (progress: Progress) => void {
  let before = 0;
  let last = 0;
  return ({ stage, done, total = done }) => {
    if (stage === 'download') {
      const [bytes, unit] = total < 1e7 ? ([1e3, 'kB'] as const) : ([1e6, 'MB'] as const);
      io.progress(stage, Math.floor(done / bytes), { total: Math.ceil(total / bytes), unit });
      return;
    }
    // Fewer bytes than a moment ago: another file.
    if (done < last) before += last;
    last = done;
    io.progress('read data', Math.round((before + done) / 1e6), { unit: 'MB' });
  };
}
