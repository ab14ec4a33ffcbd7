import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SCORE_FOLDER } from '../methods/table/reader-loss.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { readJson, recoverFolder, writeFileAtomic } from '../util/files.ts';
import { isObject, optionalJson } from '../util/json-objects.ts';
import { LOCK_NAME, lockInside, withLock } from '../util/lock.ts';
import { option } from '../util/option-name.ts';
import { removeLeftoversIn } from '../util/temporary-name.ts';
import { CHECKPOINT, hasCheckpoint, type RunIdentity } from './checkpoint.ts';
import { type AnySettings, checkSameSettings, identifyingSettings, type TrainSettings } from './settings.ts';

/** File of a run's folder with its settings. */
const SETTINGS = 'settings.json';
/** Settings of a run whose folder is being set up. The file becomes `settings.json` when everything that a run begins with is there. */
const STARTING = 'starting.json';
/** Folder of the best model, inside a run's folder. */
export const MODEL = 'model';
/** Folder of the LoRA adapter, inside a run's folder. */
export const ADAPTER = 'adapter';
/** Folder of the reader that is trained beside a retriever, inside a run's folder. */
export const READER = 'reader';
/** File of the log, inside a run's folder. */
export const LOG = 'metrics.jsonl';
/** Tokenizer of a run that makes a new model. */
export const TOKENIZER = 'tokenizer.json';
/** Scratch folder of an encoding process. */
const REFRESH = 'refresh';
/** Neighbours of the chunks that a run with retrieval reads. */
export const NEIGHBOURS = 'neighbours.safetensors';
/** Folder of scores of a frozen model, inside a run's folder. */
export const SCORES = 'scores';
/** Folders of scores, which are of use to any run. */
const ALL_SCORES: readonly string[] = [SCORES, SCORE_FOLDER];
const OWN_FILES = [
  ...[SETTINGS, STARTING, MODEL, ADAPTER, READER, CHECKPOINT, LOG, 'tensorboard', TOKENIZER, REFRESH],
  ...[NEIGHBOURS, ...ALL_SCORES],
  // File of the texts of a store, which has a name for a moment only.
  'spill',
];

/** Tells whether a name is that of a lock, which a run's folder may hold besides its files. */
const isLock = (name: string): boolean => name === LOCK_NAME || name.startsWith(`${LOCK_NAME}.`);

/** Tells whether a name belongs to a run, or was left by a process that was killed while it wrote one. */
const isOwnFile = (name: string): boolean =>
  isLock(name) || OWN_FILES.some((own) => name === own || name.startsWith(`${own}.`));

/** Tells whether a file says nothing of a run: what a killed process leaves before its run has begun, such as scores for it. */
const isScrap = (name: string): boolean =>
  isLock(name) ||
  ALL_SCORES.includes(name) ||
  name === REFRESH ||
  name.startsWith(`${REFRESH}.`) ||
  name.endsWith('.tmp');

/** Content of `settings.json`. */
export interface StoredSettings<S extends AnySettings = TrainSettings> {
  /** Fingerprint of the data. */
  readonly fingerprint: string;
  readonly settings: S;
}

/**
 * Reads the settings of the run in a folder, so that it can be resumed without repeating them.
 *
 * @param out  folder of the run
 * @returns  the settings; undefined for a folder in which a run was killed before it had written them
 * @throws UndriftError where there is no run
 * @throws DataError where its settings are damaged
 */
export async function findRunSettings(out: string): Promise<TrainSettings | undefined> {
  return (await findStored(out))?.settings;
}

/** Reads the settings of the run in a folder. @throws UndriftError where there are none */
export async function readRunSettings<S extends AnySettings = TrainSettings>(out: string): Promise<S> {
  return (await readStored(out)).settings as AnySettings as S;
}

/** Reads the id of the method of the run in a folder; undefined for any other folder. */
export async function runMethod(out: string): Promise<string | undefined> {
  const { settings } = (await optionalJson(join(out, SETTINGS))) ?? {};
  return isObject(settings) && typeof settings.method === 'string' ? settings.method : undefined;
}

async function readStored(out: string): Promise<StoredSettings> {
  const stored = await findStored(out);
  if (stored) return stored;
  throw new UndriftError(`the run in ${out} was stopped before it had written its settings`, {
    help: `give all of its options again; it then begins anew`,
  });
}

async function findStored(out: string): Promise<StoredSettings | undefined> {
  const file = [SETTINGS, STARTING].map((name) => join(out, name)).find((path) => existsSync(path));
  if (file !== undefined) return await readSettingsFile(file);
  const names = await readdir(out).catch(() => undefined);
  if (names?.every(isScrap)) return undefined;
  throw new UndriftError(`there is no run to resume in ${out}: no ${SETTINGS}`, {
    help: `start it without ${option('resume')}`,
  });
}

/**
 * Reads the settings of the run in a folder, and the fingerprint of its data; undefined if there is no run.
 *
 * @throws DataError where they are damaged
 */
export async function storedSettings(out: string): Promise<StoredSettings | undefined> {
  return isSetUp(out) ? await readSettingsFile(join(out, SETTINGS)) : undefined;
}

async function readSettingsFile(file: string): Promise<StoredSettings> {
  const stored = await readJson(file);
  const { fingerprint, settings } = isObject(stored) ? stored : {};
  if (!isObject(settings) || typeof settings.data !== 'string' || typeof fingerprint !== 'string') {
    throw new DataError('these are not the settings of a run', {
      file,
      help: `start the run anew with ${option('overwrite', true)}`,
    });
  }
  return { fingerprint, settings: settings as unknown as TrainSettings };
}

/**
 * Checks that the run in a folder is the one to resume. A null `lr` is not compared: the default rate of a given model is known once
 * the model is loaded.
 *
 * @param fingerprint  fingerprint of the data
 * @throws UndriftError where the run was started with other settings or data
 */
export async function checkResumed(out: string, settings: AnySettings, fingerprint: string): Promise<void> {
  const stored = await readStored(out);
  checkSameSettings(stored.settings, { ...settings, lr: settings.lr ?? stored.settings.lr }, out);
  if (stored.fingerprint !== fingerprint) {
    throw new UndriftError(`the data ${settings.data} is not what the run in ${out} was trained on`, {
      help: `its fingerprint was ${stored.fingerprint}, now it is ${fingerprint}: resume with the same data`,
    });
  }
}

/** Returns what tells a run from others, to be stored in its checkpoints. */
export const runIdentity = (settings: AnySettings, fingerprint: string): RunIdentity => ({
  ...identifyingSettings(settings),
  fingerprint,
});

/** Progress of the run in a folder. `new`: it begins, and an earlier run may be replaced. `begun`: its settings are stored. `saved`: it has a checkpoint. */
export type RunProgress = 'new' | 'begun' | 'saved';

/**
 * Checks that a folder can take a run. Nothing is changed.
 *
 * @returns  progress of the run that is to be trained
 * @throws UndriftError where there is no run to resume, or the folder holds something that may not be replaced
 * @throws UsageError where `out` is not a folder
 */
async function checkRunFolder(
  out: string,
  { resume, overwrite }: { resume: boolean; overwrite: boolean },
): Promise<RunProgress> {
  if (!resume) await checkFree(out, overwrite);
  else if (await findStored(out)) return isSetUp(out) && hasCheckpoint(out) ? 'saved' : 'begun';
  return 'new';
}

/** Checks that a folder can take a new run: it is absent or empty, or holds a run that may be replaced, or scraps of one. */
async function checkFree(out: string, overwrite: boolean): Promise<void> {
  if (!existsSync(out)) return;
  const names = await readdir(out).catch((cause) => {
    throw new UsageError(`${option('out', out)} is not a folder`, { cause });
  });
  const foreign = names.find((name) => !isOwnFile(name));
  if (foreign !== undefined) {
    throw new UndriftError(`${out} is not empty, and not a run of ours (it holds ${foreign})`, {
      help: `choose another ${option('out')}`,
    });
  }
  if (overwrite) return;
  if (names.includes(SETTINGS)) {
    throw new UndriftError(`${out} already holds a run`, {
      help: `go on with it by ${option('resume', true)}, replace it by ${option('overwrite', true)}, or choose another ${option('out')}`,
    });
  }
  const part = names.find((name) => !isScrap(name));
  if (part === undefined || names.includes(STARTING)) return;
  throw new UndriftError(`${out} holds ${part}, a part of a run that has lost its ${SETTINGS}`, {
    help: `replace it by ${option('overwrite', true)}, or choose another ${option('out')}`,
  });
}

/** Removes what killed processes have left in the folder of a run. The caller holds the lock of the folder. */
async function tidyRunFolder(out: string): Promise<void> {
  await removeLeftoversIn(out, isOwnFile);
  for (const name of [CHECKPOINT, MODEL, ADAPTER, READER]) await recoverFolder(join(out, name));
  if (isSetUp(out)) await rm(join(out, STARTING), { force: true });
  else if (existsSync(join(out, STARTING))) await removeEarlier(out);
}

/** Tells whether the set-up of a run's folder was completed. */
const isSetUp = (out: string): boolean => existsSync(join(out, SETTINGS));

/**
 * Removes an earlier run, all but the lock of the folder, the settings of the run that begins, and scores: these are of use to any run, by
 * the model and the texts that they belong to.
 */
async function removeEarlier(out: string): Promise<void> {
  const names = (await readdir(out)).filter(
    (name) => isOwnFile(name) && !isLock(name) && name !== STARTING && !ALL_SCORES.includes(name),
  );
  // The settings go first: without them the other files are the rest of a run that is being replaced.
  for (const name of names.sort((a, b) => Number(b === SETTINGS) - Number(a === SETTINGS))) {
    await rm(join(out, name), { recursive: true, force: true });
  }
}

/**
 * Does the work of a run in its folder, with the folder locked.
 *
 * @throws UsageError as `checkRunFolder`; UndriftError while another process works in the folder
 */
export async function inRunFolder<R>(
  out: string,
  { resume = false, overwrite = false }: { resume?: boolean | undefined; overwrite?: boolean | undefined },
  work: (progress: RunProgress) => Promise<R>,
): Promise<R> {
  // Checked before anything is written, and again when no other process can change the folder any more.
  await checkRunFolder(out, { resume, overwrite });
  return await withLock(lockInside(out), async () => {
    const progress = await checkRunFolder(out, { resume, overwrite });
    await tidyRunFolder(out);
    return await work(progress);
  });
}

/**
 * Writes the files with which a run begins. An earlier run in the folder is removed; `checkRunFolder` must have allowed that.
 *
 * A process that is killed here leaves `starting.json`, from which a later one knows that everything in the folder may be replaced.
 *
 * @param fingerprint  fingerprint of the data
 */
export async function startRun(
  out: string,
  settings: AnySettings,
  fingerprint: string,
  model: { readonly tokenizer: Tokenizer },
): Promise<void> {
  const stored: StoredSettings<AnySettings> = { fingerprint, settings };
  await writeFileAtomic(join(out, STARTING), `${JSON.stringify(stored, null, 2)}\n`);
  await removeEarlier(out);
  await writeTokenizer(out, model);
  await rename(join(out, STARTING), join(out, SETTINGS));
}

/** Writes the tokenizer of a run that has none, as when an early version was killed before it wrote one. */
export async function completeRun(out: string, model: { readonly tokenizer: Tokenizer }): Promise<void> {
  if (!existsSync(join(out, TOKENIZER))) await writeTokenizer(out, model);
}

const writeTokenizer = (out: string, { tokenizer }: { readonly tokenizer: Tokenizer }): Promise<void> =>
  writeFileAtomic(join(out, TOKENIZER), `${JSON.stringify(tokenizer.toJson())}\n`);
