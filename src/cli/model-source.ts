import { ANY_DATA_OPTIONS, type LoadOptions } from '../data/load-options.ts';
import { shareEncoding } from '../models/background/encode-workers.ts';
import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { findModel } from '../models/folder/find-model.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import type { EncodeDtype } from '../models/retriever/encode-dtype.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { asFlags, type NoteListener } from '../util/option-name.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { Io } from './io.ts';

/** Values that `--model` accepts, for help texts. */
export const MODEL_HELP =
  'a model folder, a training run (its best model), or a name on the Hugging Face hub (organisation/name@revision)';

/**
 * Finds or downloads the folder of the model named by `--model`.
 *
 * @param words  words that `--model` accepts besides folders and names on the hub
 * @param option  name of the option in error messages, if not `--model`
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

/** Settings that replace those in the model folder. */
export interface ModelChoices {
  /** Number of leading dimensions of the vectors to keep. */
  readonly dimensions?: number | undefined;
  /** Dtype in which texts are encoded. */
  readonly encodeDtype?: EncodeDtype | undefined;
  /** Processes that encode together. Default 1. */
  readonly workers?: number | undefined;
  /** Threads of all processes together. Default: all cores. */
  readonly threads?: number | undefined;
  /** Text put before every query. */
  readonly queryPrompt?: string | undefined;
  /** Text put before every document. */
  readonly docPrompt?: string | undefined;
}

/**
 * Loads the retriever named by `--model`.
 *
 * @param words  words that `--model` accepts besides folders and names on the hub
 */
export async function loadModel(
  path: string,
  io: Io,
  words: readonly string[] = [],
  { option, ...choices }: { option?: string } & ModelChoices = {},
): Promise<Retriever> {
  return await loadFolder(await modelFolder(path, io, words, option), io, choices);
}

/** Loads the retriever from a folder. */
export async function loadFolder(
  folder: string,
  io: Io,
  { dimensions, encodeDtype, workers = 1, threads, queryPrompt, docPrompt }: ModelChoices = {},
): Promise<Retriever> {
  const retriever = await loadRetriever(folder, {
    ...(dimensions !== undefined && { dimensions }),
    ...(encodeDtype !== undefined && { encodeDtype }),
    prompts: {
      ...(queryPrompt !== undefined && { query: queryPrompt }),
      ...(docPrompt !== undefined && { document: docPrompt }),
    },
    onNote: showNotes(io),
  });
  shareEncoding(retriever, { workers, threads });
  return retriever;
}

/**
 * Loads a cross-encoder for a command.
 *
 * @param option  name of the option by which it was given, for messages
 */
export const loadCrossEncoderModel = (path: string, io: Io, option: string): Promise<CrossEncoder> =>
  loadCrossEncoder(path, {
    option,
    onProgress: loadProgress(io),
    onNote: showNotes(io),
  });

/** Loads the language model named by `--model`. */
export const loadLanguageModel = async (path: string, io: Io): Promise<LanguageModel> =>
  await LanguageModel.load(await modelFolder(path, io), { onNote: (note) => io.log(`note: ${note}`) });

/** Returns a callback that logs notes, with options as they are written on the command line. */
export const showNotes =
  (io: Io): NoteListener =>
  (note, marked = note) =>
    io.log(`note: ${asFlags(marked)}`);

/** Returns a callback that shows every stage under its own name, in its own unit. */
export const showProgress =
  (io: Io) =>
  ({ stage, done, total, unit }: Progress): void =>
    io.progress(stage, done, { total, unit });

const pick = (options: GivenOptions<typeof ANY_DATA_OPTIONS>): GivenOptions<typeof ANY_DATA_OPTIONS> =>
  Object.fromEntries(
    Object.keys(ANY_DATA_OPTIONS).map((key) => [key, options[key as keyof typeof ANY_DATA_OPTIONS]]),
  );

/** Returns the settings for loading data: how faults are treated, and callbacks that show progress and print notes. */
export const readOptions = (
  io: Io,
  options: GivenOptions<typeof ANY_DATA_OPTIONS> = {},
): Pick<LoadOptions, 'onProgress' | 'onNote' | keyof typeof ANY_DATA_OPTIONS> => ({
  ...pick(options),
  onProgress: loadProgress(io),
  onNote: (note) => io.log(`note: ${note}`),
});

/** Returns the settings of {@link readOptions} for a stream, whose progress is that of the work on it; downloads are shown. */
export function streamOptions(
  io: Io,
  options: GivenOptions<typeof ANY_DATA_OPTIONS> = {},
): ReturnType<typeof readOptions> {
  const { onProgress, ...reading } = readOptions(io, options);
  return { ...reading, onProgress: (each) => each.stage === 'download' && onProgress?.(each) };
}

/**
 * Returns a callback that shows how many bytes have been downloaded or read from disk.
 *
 * All files that are read are shown as one sum. It has no total, since the number of files to come is not
 * known.
 */
export function loadProgress(io: Io): (progress: Progress) => void {
  let before = 0;
  let last = 0;
  return ({ stage, done, total }) => {
    if (stage === 'download') {
      const [bytes, unit] = (total ?? done) < 1e7 ? ([1e3, 'kB'] as const) : ([1e6, 'MB'] as const);
      // The total is not known yet while the list of files is waited for.
      const inUnits = total === undefined ? undefined : Math.ceil(total / bytes);
      io.progress(stage, Math.floor(done / bytes), { total: inUnits, unit });
      return;
    }
    // A byte count below the last one means that another file has begun.
    if (done < last) before += last;
    last = done;
    io.progress('read data', Math.round((before + done) / 1e6), { unit: 'MB' });
  };
}
