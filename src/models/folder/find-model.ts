import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type HubName, hubNameText, parseHubName } from '../../hub/hub-name.ts';
import { UsageError } from '../../util/errors.ts';
import { recoverFolder } from '../../util/files.ts';
import { didYouMean } from '../../util/nearest.ts';
import type { Progress } from '../../util/progress.ts';
import { hubModel, hubModelName } from './hub-model.ts';

/** Any of these makes a folder a model's. */
const MODEL_FILES = ['undrift.json', 'modules.json', 'config.json'];

export interface FindModelOptions {
  /** The option that named the model, for messages. Default `--model`. */
  flag?: string;
  /** Stage `download`, in bytes. */
  onProgress?: ((progress: Progress) => void) | undefined;
  onNote?: ((note: string) => void) | undefined;
}

/**
 * The folder of a model; where a training run is named, that of its best model; where a name on the Hugging Face hub is given,
 * `organisation/name` or `organisation/name@revision`, a folder of the cache, into which it is downloaded if need be. A folder
 * that exists goes before a name.
 *
 * @param words  what could be named instead of a folder, for the message
 * @throws UsageError where there is none of these, UndriftError where the hub does not give the model
 */
export async function findModel(
  path: string,
  words: readonly string[] = [],
  options: FindModelOptions = {},
): Promise<string> {
  const name = onHub(path);
  return name ? (await hubModel(name, options)).folder : await localModel(path, words, options);
}

/**
 * The text by which the same model is found ever after: a name on the hub with the commit that it stands for now; anything else as
 * it is. The model is downloaded.
 */
export async function pinModel(path: string, options: FindModelOptions = {}): Promise<string> {
  const name = onHub(path);
  return name ? hubNameText(name, (await hubModel(name, options)).commit) : path;
}

const onHub = (path: string): HubName | undefined => (existsSync(path) ? undefined : hubModelName(path));

async function localModel(
  path: string,
  words: readonly string[],
  { flag = '--model' }: FindModelOptions,
): Promise<string> {
  const isModel = (folder: string) => MODEL_FILES.some((name) => existsSync(join(folder, name)));
  const inRun = join(path, 'model');
  await recoverFolder(inRun);
  // A run keeps files of its own beside the model: the folder inside goes first.
  if (isModel(inRun)) return inRun;
  await recoverFolder(path);
  if (isModel(path)) return path;
  if (existsSync(join(path, 'adapter_config.json'))) {
    throw new UsageError(`${flag} ${path}: an adapter (LoRA), not a whole model`, {
      help: 'merge it into its base model; with Python: peft’s merge_and_unload(), then save_pretrained',
    });
  }
  if (existsSync(path)) {
    throw new UsageError(
      `${flag} ${path}: neither a model folder (no ${MODEL_FILES.join(', ')}) nor a training run (no model/)`,
      { help: 'a training run has a model after its first evaluation, or at its end' },
    );
  }
  if (parseHubName(path, 'model')) {
    throw new UsageError(`${flag} ${path}: no such folder`, {
      help: `for the model of that name on the hub, though there is a folder ${path.split('/')[0]} here, write hf:${path}`,
    });
  }
  const near = didYouMean(path, words);
  throw new UsageError(`${flag} ${path}: no such folder${near && `.${near}`}`, {
    help: `name ${['a training run', 'a model folder', 'a model on the hub (organisation/name)', ...words].join(', ').replace(/, ([^,]*)$/, ' or $1')}`,
  });
}
