import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HubName, parseHubName } from '../../hub/hub-name.ts';
import { hubSnapshot, type Snapshot, type SnapshotOptions } from '../../hub/snapshot.ts';
import { DataError } from '../../util/errors.ts';
import { TRANSFORMER_FILES } from './transformer-settings.ts';
import { convertHelp, PICKLED_WEIGHTS } from './weight-files.ts';

/** Files of a model that are read besides its weights. */
const SMALL_FILES = new Set([
  'adapter_config.json',
  'added_tokens.json',
  'config.json',
  'config_sentence_transformers.json',
  'modules.json',
  'router_config.json',
  ...TRANSFORMER_FILES,
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'undrift.json',
  'README.md',
]);

const WHOLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const SHARD = /^model-\d+-of-\d+\.safetensors$/;

/** Folders in which repositories keep the same model for other programs. */
const FOREIGN = /^(onnx|openvino|original|coreml|tflite|ggml|gguf|runs|checkpoint-.*)\//i;

/** Parses the name of a model on the hub; undefined for a path, or for text that is more likely a misspelt path. */
export function hubModelName(text: string): HubName | undefined {
  const name = parseHubName(text, 'model');
  // If a folder with the organisation's name exists here, the text is probably a mistyped path, which should
  // not be sent to the hub.
  return name && !text.startsWith('hf:') && existsSync(text.split('/')[0]!) ? undefined : name;
}

/** Downloads the files of a model that Undrift reads, and nothing else; see `hubSnapshot`. */
export async function hubModel(
  name: HubName,
  options: Pick<SnapshotOptions, 'onProgress' | 'onNote'>,
): Promise<Snapshot> {
  return await hubSnapshot(name, {
    ...options,
    wanted: (paths) => modelFiles(paths, name.repo),
    isComplete: hasModel,
  });
}

/**
 * Chooses the files of a repository that make up its model.
 *
 * @throws DataError before any large download, when there are no safetensors or no `tokenizer.json`
 */
export function modelFiles(paths: readonly string[], repo: string): string[] {
  const baseName = (path: string) => path.slice(path.lastIndexOf('/') + 1);
  const own = paths.filter((path) => !FOREIGN.test(path));
  const isWhole = (folder: string) => own.includes(folder + WHOLE);
  const files = own.filter((path) => {
    const name = baseName(path);
    if (SMALL_FILES.has(name) || name === WHOLE) return true;
    // Shards and the whole file hold the same weights.
    return (name === INDEX || SHARD.test(name)) && !isWhole(path.slice(0, -name.length));
  });
  const has = (test: (name: string) => boolean) => files.some((path) => test(baseName(path)));
  if (!has((name) => name === WHOLE || SHARD.test(name))) {
    const adapter = own.includes('adapter_config.json');
    const pickled = own.find((path) => PICKLED_WEIGHTS.test(baseName(path)));
    throw new DataError('the repository has no model.safetensors', {
      file: repo,
      help: pickled
        ? convertHelp(pickled, repo, own.includes('modules.json'))
        : adapter
          ? 'it holds an adapter (LoRA) only: merge it into its base model; with Python: peft’s merge_and_unload(), then save_pretrained'
          : 'it holds no model of a kind that we read',
    });
  }
  if (!has((name) => name === 'tokenizer.json')) {
    throw new DataError('the repository has no tokenizer.json', {
      file: repo,
      help:
        'older ones keep the vocabulary in other files; Python writes it: ' +
        `python -c "from transformers import AutoTokenizer as T, AutoModel as M; n = '${repo}'; [x.from_pretrained(n).save_pretrained('converted') for x in (T, M)]", ` +
        'then give the folder converted',
    });
  }
  return files;
}

/**
 * Tells whether a folder of the cache has weights and a tokenizer: other programs may have fetched the
 * configuration alone.
 */
function hasModel(folder: string): boolean {
  const tower = ['', '0_Transformer', '0_StaticEmbedding', 'document'].find((name) =>
    existsSync(join(folder, name, 'tokenizer.json')),
  );
  if (tower === undefined) return false;
  const inside = join(folder, tower);
  if (existsSync(join(inside, WHOLE))) return true;
  try {
    const { weight_map } = JSON.parse(readFileSync(join(inside, INDEX), 'utf8')) as {
      weight_map: Record<string, string>;
    };
    return Object.values(weight_map).every((file) => existsSync(join(inside, file)));
  } catch {
    return false;
  }
}
