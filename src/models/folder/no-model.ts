import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DataError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';

/** Files that make a folder a model folder. */
export const MODEL_FILES = ['undrift.json', 'modules.json', 'config.json'];

const ADAPTER = 'adapter_config.json';

/** Tells whether a folder is a model folder. */
export const isModelFolder = (folder: string): boolean =>
  MODEL_FILES.some((name) => existsSync(join(folder, name)));

/** Folders in which a model folder keeps the encoder's files, apart from itself. */
const INSIDE = ['', '0_Transformer', 'query', 'document'];

/**
 * Checks that a model folder holds no adapter of peft. transformers would apply it to its base model, so the
 * weights beside it, if there are any, are not those that Python computes with.
 *
 * @param by name of the option by which the folder was given
 * @throws UsageError that says how to merge it
 */
export function refuseAdapter(folder: string, by: string): void {
  for (const inside of INSIDE) {
    const path = join(folder, inside);
    const file = join(path, ADAPTER);
    if (!existsSync(file)) continue;
    const base = baseModel(file);
    const whole = existsSync(join(path, 'model.safetensors'));
    const what = whole
      ? `an adapter (LoRA) beside the weights, which Python applies to ${base ?? 'its base model'} when it loads the folder`
      : `an adapter (LoRA), not a whole model${base === undefined ? '' : `; its base model is ${base}`}`;
    throw new UsageError(`${option(by)} ${path}: ${what}`, {
      help:
        'merge it into its base model; with Python: peft’s merge_and_unload(), then save_pretrained' +
        (whole ? `; if the weights are merged already, remove ${ADAPTER}` : ''),
    });
  }
}

function baseModel(file: string): string | undefined {
  try {
    const { base_model_name_or_path: base } = JSON.parse(readFileSync(file, 'utf8'));
    return typeof base === 'string' && base !== '' ? base : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks that the folder that modules.json names for the encoder has a config.json.
 *
 * @throws DataError that says that files are missing
 */
export function requireConfig(file: string): void {
  if (existsSync(file)) return;
  throw new DataError('no such file', {
    file,
    help: 'not all of the model was copied or downloaded: config.json belongs beside its weights',
  });
}

/**
 * Makes the error for a path that exists and is neither a model folder nor a training run. The help depends on
 * what lies there.
 *
 * @param by name of the option by which the path was given
 */
export function noModelIn(path: string, by: string): UsageError {
  const error = (message: string, help: string) =>
    new UsageError(`${option(by)} ${path}: ${message}`, { help });
  if (!statSync(path).isDirectory()) {
    return error('a file, not a model folder', `give the folder that it lies in: ${dirname(path)}`);
  }
  const names = readdirSync(path).sort();
  const some = (pattern: RegExp) => names.find((name) => pattern.test(name));
  const neither = `neither a model folder (no ${MODEL_FILES.join(', ')}) nor a training run (no model/)`;
  if (names.length === 0)
    return error('the folder is empty', 'give the folder of a model or of a training run');
  if (names.includes('metrics.jsonl')) {
    return error(
      'a training run without a model as yet (no model/)',
      'a training run has a model after its first evaluation, or at its end',
    );
  }
  const models = names.flatMap((name) => modelsIn(join(path, name)));
  if (models.length > 0) {
    return error(neither, `a folder inside is one: ${models.slice(0, 3).join(', ')}`);
  }
  const weights = some(/\.(safetensors|bin|pt|pth|h5|msgpack)$/);
  if (weights !== undefined) {
    return error(
      `there are weights (${weights}), but no config.json`,
      'copy config.json and tokenizer.json of the model to them, or all of its files',
    );
  }
  const other = some(/\.(onnx|gguf|ggml)$/i) ?? (names.includes('onnx') ? 'onnx/' : undefined);
  if (other !== undefined) {
    return error(
      `there is a model for other programs (${other}), and none with config.json`,
      'use the original model, with config.json and model.safetensors',
    );
  }
  const data = some(/^(corpus|queries|qrels|train|pairs)\b|\.(jsonl|parquet|csv|tsv)$/);
  if (data !== undefined) {
    return error(
      `data (${data}), not a model`,
      `give the folder of a model or of a training run; data belong to ${option('data')}`,
    );
  }
  return error(neither, 'give the folder that has config.json, model.safetensors and tokenizer.json');
}

/** Lists the folder, its `model/` and the snapshots in it that are model folders. */
function modelsIn(folder: string): string[] {
  if (!statSync(folder).isDirectory()) return [];
  const inside =
    basename(folder) === 'snapshots' ? readdirSync(folder).map((name) => join(folder, name)) : [];
  return [folder, join(folder, 'model'), ...inside].filter(isModelFolder);
}
