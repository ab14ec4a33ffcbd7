import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Retriever } from '../models/retriever/retriever.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import { checkSameSettings, type TrainSettings } from './settings.ts';

/** File of a run's folder with its settings. */
const SETTINGS = 'settings.json';
/** Folder of the best model, inside a run's folder. */
export const MODEL = 'model';
/** Folder of the LoRA adapter, inside a run's folder. */
export const ADAPTER = 'adapter';
/** File of the log, inside a run's folder. */
export const LOG = 'metrics.jsonl';
const OWN_FILES = [SETTINGS, MODEL, ADAPTER, 'checkpoint', LOG, 'tensorboard', 'tokenizer.json', 'refresh'];

/** Tells whether a name belongs to a run, or was left by a process that was killed while it wrote one. */
const isOwnFile = (name: string): boolean =>
  OWN_FILES.some((own) => name === own || name.startsWith(`${own}.`));

/**
 * Reads the settings of the run in a folder, so that it can be resumed without repeating them.
 *
 * @param out  folder of the run
 * @throws UndriftError where there is no run
 * @throws DataError where its settings are damaged
 */
export async function readRunSettings(out: string): Promise<TrainSettings> {
  const file = join(out, SETTINGS);
  if (!existsSync(file)) {
    throw new UndriftError(`there is no run to resume in ${out}: no ${SETTINGS}`, {
      help: `start it without ${option('resume')}`,
    });
  }
  return (await readSettingsFile(file)).settings;
}

async function readSettingsFile(file: string): Promise<{ fingerprint: string; settings: TrainSettings }> {
  const stored = (await readJson(file)) as {
    fingerprint?: unknown;
    settings?: Partial<TrainSettings>;
  } | null;
  if (typeof stored?.settings?.data !== 'string' || typeof stored.fingerprint !== 'string') {
    throw new DataError('these are not the settings of a run', {
      file,
      help: `start the run anew with ${option('overwrite', true)}`,
    });
  }
  return stored as { fingerprint: string; settings: TrainSettings };
}

/**
 * Checks that the run in a folder is the one to resume. A null `lr` is not compared: the default rate of a given model is known once
 * the model is loaded.
 *
 * @param fingerprint  fingerprint of the data
 * @throws UndriftError where the run was started with other settings or data
 */
export async function checkResumed(out: string, settings: TrainSettings, fingerprint: string): Promise<void> {
  const { lr } = await readRunSettings(out);
  checkSameSettings(await readRunSettings(out), { ...settings, lr: settings.lr ?? lr }, out);
  const stored = await readSettingsFile(join(out, SETTINGS));
  if (stored.fingerprint !== fingerprint) {
    throw new UndriftError(`the data ${settings.data} is not what the run in ${out} was trained on`, {
      help: `its fingerprint was ${stored.fingerprint}, now it is ${fingerprint}: resume with the same data`,
    });
  }
}

/**
 * Checks that a folder can take a new run: it is absent, empty, or holds a run that may be replaced. Nothing is removed.
 *
 * @param overwrite  whether a run may be replaced
 * @throws UndriftError where the folder holds anything else
 * @throws UsageError where `out` is not a folder
 */
export async function checkFree(out: string, overwrite: boolean): Promise<void> {
  if (!existsSync(out)) return;
  const names = await readdir(out).catch((cause) => {
    throw new UsageError(`${option('out', out)} is not a folder`, { cause });
  });
  if (names.length === 0) return;
  const foreign = names.filter((name) => !isOwnFile(name));
  if (foreign.length > 0 || !names.includes(SETTINGS)) {
    throw new UndriftError(
      `${out} is not empty, and not a run of ours (it holds ${(foreign[0] ?? names[0])!})`,
      {
        help: `choose another ${option('out')}`,
      },
    );
  }
  if (!overwrite) {
    throw new UndriftError(`${out} already holds a run`, {
      help: `go on with it by ${option('resume', true)}, replace it by ${option('overwrite', true)}, or choose another ${option('out')}`,
    });
  }
}

/**
 * Writes the files with which a run begins. An earlier run in the folder is removed; `checkFree` must have allowed that.
 *
 * @param fingerprint  fingerprint of the data
 */
export async function startRun(
  out: string,
  settings: TrainSettings,
  fingerprint: string,
  retriever: Retriever,
): Promise<void> {
  await mkdir(out, { recursive: true });
  const earlier = (await readdir(out)).filter(isOwnFile);
  for (const name of earlier) await rm(join(out, name), { recursive: true, force: true });
  await writeFileAtomic(join(out, SETTINGS), `${JSON.stringify({ fingerprint, settings }, null, 2)}\n`);
  await writeFileAtomic(join(out, 'tokenizer.json'), `${JSON.stringify(retriever.tokenizer.toJson())}\n`);
}
