import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../util/errors.ts';
import { recoverFolder } from '../util/files.ts';
import { didYouMean } from '../util/nearest.ts';

/** Any of these makes a folder a model's. */
const MODEL_FILES = ['undrift.json', 'modules.json', 'config.json'];

/**
 * The folder of a model; where a training run is named, that of its best model.
 *
 * @param words  what could be named instead of a folder, for the message
 * @param options.flag  the option that named it
 * @throws UsageError where there is neither
 */
export async function findModel(
  path: string,
  words: readonly string[] = [],
  { flag = '--model' }: { flag?: string } = {},
): Promise<string> {
  const isModel = (folder: string) => MODEL_FILES.some((name) => existsSync(join(folder, name)));
  const inRun = join(path, 'model');
  await recoverFolder(inRun);
  // A run keeps files of its own beside the model: the folder inside goes first.
  if (isModel(inRun)) return inRun;
  await recoverFolder(path);
  if (isModel(path)) return path;
  if (existsSync(path)) {
    throw new UsageError(
      `${flag} ${path}: neither a model folder (no ${MODEL_FILES.join(', ')}) nor a training run (no model/)`,
      { help: 'a training run has a model after its first evaluation, or at its end' },
    );
  }
  const near = didYouMean(path, words);
  throw new UsageError(`${flag} ${path}: no such folder${near && `.${near}`}`, {
    help: `name ${['a training run', 'a model folder', ...words].join(', ').replace(/, ([^,]*)$/, ' or $1')}`,
  });
}
