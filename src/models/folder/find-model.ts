import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type HubName, hubNameText, parseHubName } from '../../hub/hub-name.ts';
import { UsageError } from '../../util/errors.ts';
import { recoverFolder } from '../../util/files.ts';
import { didYouMean } from '../../util/nearest.ts';
import { option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';
import { hubModel, hubModelName } from './hub-model.ts';
import { isModelFolder, noModelIn, refuseAdapter } from './no-model.ts';

/** Settings of {@link findModel}. */
export interface FindModelOptions {
  /** Name of the option by which the model was given, for messages. Default `model`. */
  option?: string;
  /** Progress in bytes, with the stage `download`. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with a note if the model came from another place than asked. */
  onNote?: ((note: string) => void) | undefined;
}

/**
 * Finds the folder of a model. `path` may be:
 *
 * - a model folder
 * - the folder of a training run; its best model is used
 * - a name on the Hugging Face hub, `organisation/name` or `organisation/name@revision`; the model is
 *   downloaded to a cache if needed
 *
 * A folder that exists takes precedence over a name.
 *
 * @param words  other values that the option accepts, for the message
 * @throws UsageError when nothing is found
 * @throws UndriftError when the hub does not provide the model
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
 * Returns a text that always finds the same model: a name on the hub with its current commit, and any other
 * path unchanged. The model is downloaded.
 */
export async function pinModel(path: string, options: FindModelOptions = {}): Promise<string> {
  const name = onHub(path);
  return name ? hubNameText(name, (await hubModel(name, options)).commit) : path;
}

const onHub = (path: string): HubName | undefined => (existsSync(path) ? undefined : hubModelName(path));

async function localModel(
  path: string,
  words: readonly string[],
  { option: by = 'model' }: FindModelOptions,
): Promise<string> {
  const inRun = join(path, 'model');
  await recoverFolder(inRun);
  // A run keeps files of its own beside the model, so the folder inside comes first.
  if (isModelFolder(inRun)) return inRun;
  await recoverFolder(path);
  if (existsSync(path)) refuseAdapter(path, by);
  if (isModelFolder(path)) return path;
  if (existsSync(path)) throw noModelIn(path, by);
  if (parseHubName(path, 'model')) {
    throw new UsageError(`${option(by)} ${path}: no such folder`, {
      help: `for the model of that name on the hub, though there is a folder ${path.split('/')[0]} here, write hf:${path}`,
    });
  }
  const near = didYouMean(path, words);
  throw new UsageError(`${option(by)} ${path}: no such folder${near && `.${near}`}`, {
    help: `name ${['a training run', 'a model folder', 'a model on the hub (organisation/name)', ...words].join(', ').replace(/, ([^,]*)$/, ' or $1')}`,
  });
}
