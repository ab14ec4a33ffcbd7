import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { isObject, type Json, objectIn } from '../../util/json-objects.ts';
import type { Side } from '../retriever/retriever.ts';
import { checkFields, type FieldTable, isOff, isOneOf } from './field-table.ts';

/** Names of the file of a Transformer module, in the order in which sentence-transformers looks for them. */
export const TRANSFORMER_FILES = [
  'bert',
  'roberta',
  'distilbert',
  'camembert',
  'albert',
  'xlm-roberta',
  'xlnet',
].map((name) => `sentence_${name}_config.json`);

/** Settings of a Transformer module of sentence-transformers. */
export interface TransformerSettings {
  /** Longest text of each side, in tokens; absent where the file says nothing. */
  readonly maxTokens: Readonly<Partial<Record<Side, number>>>;
  /** Whether texts are put in lower case before they are tokenised. */
  readonly lowerCase: boolean;
  /** Fields that replace those of config.json. */
  readonly config: Json;
  /** Fields that replace those of tokenizer_config.json. */
  readonly tokenizer: Json;
}

const notText = (what: string) => ({
  means: what,
  help: 'models that give one vector for each token of a text can be read',
});

const HARMLESS_ARGUMENTS = [
  ...['cache_dir', 'force_download', 'local_files_only', 'proxies', 'resume_download', 'revision', 'token'],
  ...['trust_remote_code', 'use_auth_token'],
];
const harmless = (...names: readonly string[]): FieldTable =>
  Object.fromEntries([...HARMLESS_ARGUMENTS, ...names].map((name) => [name, 'harmless']));

/** Arguments of the model's class. */
export const MODEL_ARGUMENTS = harmless(
  ...['add_pooling_layer', 'attn_implementation', 'device_map', 'dtype', 'low_cpu_mem_usage', 'torch_dtype'],
  ...['use_cache', 'use_safetensors', 'weights_only'],
);

/** Arguments of the tokenizer's class that stand for a field of tokenizer_config.json. */
const TOKENIZER_SETTINGS = [
  ...['truncation_side', 'do_lower_case', 'strip_accents', 'tokenize_chinese_chars', 'add_prefix_space'],
  ...['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'],
];

/** Arguments of the tokenizer's class. */
export const TOKENIZER_ARGUMENTS: FieldTable = {
  ...harmless('clean_up_tokenization_spaces', 'model_input_names', 'padding_side', 'use_fast'),
  model_max_length: 'followed',
  ...Object.fromEntries(TOKENIZER_SETTINGS.map((name) => [name, 'followed' as const])),
};

/** Arguments of each call of the tokenizer. */
export const TEXT_ARGUMENTS: FieldTable = {
  max_length: 'followed',
  padding: 'harmless',
  pad_to_multiple_of: 'harmless',
  return_tensors: 'harmless',
  return_attention_mask: 'harmless',
  truncation: {
    accepts: isOneOf(true, 'longest_first', 'only_first'),
    means: 'long texts are not cut in this way',
    help: 'remove the field from a copy of the folder; long texts are then cut at the end',
  },
};

const PROCESSING_FIELDS: FieldTable = {
  text: 'followed',
  common: 'followed',
  ...Object.fromEntries(['audio', 'chat_template', 'image', 'video'].map((name) => [name, 'harmless'])),
};

/** Fields of the file of a Transformer module, in all versions of sentence-transformers. */
export const TRANSFORMER_FIELDS: FieldTable = {
  max_seq_length: 'followed',
  do_lower_case: 'followed',
  query_length: 'followed',
  document_length: 'followed',
  config_args: 'followed',
  config_kwargs: 'followed',
  model_args: 'followed',
  model_kwargs: 'followed',
  tokenizer_args: 'followed',
  processor_kwargs: 'followed',
  processing_kwargs: 'followed',
  unpad_inputs: 'harmless',
  backend: { accepts: isOneOf('torch'), ...notText('the vectors come from a file of another runtime') },
  transformer_task: {
    accepts: isOneOf('feature-extraction'),
    ...notText('the model does not give token vectors'),
  },
  module_output_name: {
    accepts: isOneOf('token_embeddings'),
    ...notText('the model does not give token vectors'),
  },
  modality_config: {
    accepts: readsText,
    ...notText('texts do not go through the model as they are, or its last layer is not what is taken'),
  },
  query_expansion: { accepts: isOff, ...notText('queries are filled up with mask tokens') },
  tokenizer_name_or_path: {
    accepts: isOff,
    means: 'the tokenizer is that of another model',
    help: 'copy its tokenizer.json into a copy of the folder, and remove the field',
  },
};

/** Tells whether texts go to `forward`, whose last hidden state is taken. */
function readsText(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (!isObject(value) || 'message' in value || !isObject(value.text)) return false;
  const { method, method_output_name: output } = value.text;
  return method === 'forward' && [output].flat().join() === 'last_hidden_state';
}

/**
 * Reads the settings of a Transformer module.
 *
 * @param folder  folder of the module
 * @param tables  fields of the file, and arguments of each call of the tokenizer. Default: those of a module that embeds texts
 * @throws DataError for a field that changes results and is not supported
 */
export async function readTransformerSettings(
  folder: string,
  { fields = TRANSFORMER_FIELDS, text = TEXT_ARGUMENTS }: { fields?: FieldTable; text?: FieldTable } = {},
): Promise<TransformerSettings> {
  const file = await settingsFile(folder);
  if (!file) return { maxTokens: {}, lowerCase: false, config: {}, tokenizer: {} };
  const { path, json } = file;
  checkFields(json, path, fields, { unknown: 'refuse' });
  const part = (...names: readonly string[]): Json => {
    const name = names.find((each) => json[each] !== undefined && json[each] !== null);
    return name === undefined ? {} : objectIn(json[name], path);
  };
  const model = part('model_kwargs', 'model_args');
  const tokenizer = part('processor_kwargs', 'tokenizer_args');
  const processing = part('processing_kwargs');
  checkFields(model, path, MODEL_ARGUMENTS, { inside: 'model_args', unknown: 'refuse' });
  checkFields(tokenizer, path, TOKENIZER_ARGUMENTS, { inside: 'tokenizer_args', unknown: 'refuse' });
  checkFields(processing, path, PROCESSING_FIELDS, { inside: 'processing_kwargs', unknown: 'refuse' });
  const calls = ['common', 'text'].map((name) => {
    const values = isObject(processing[name]) ? processing[name] : {};
    checkFields(values, path, text, { inside: `processing_kwargs.${name}`, unknown: 'refuse' });
    return values;
  });
  const length = (json: Json | undefined, name: string): number | undefined =>
    lengthOf(json?.[name], name, path);
  const everywhere = length(calls[1], 'max_length') ?? length(calls[0], 'max_length');
  const usual = length(tokenizer, 'model_max_length') ?? length(json, 'max_seq_length');
  const sides = { query: length(json, 'query_length'), document: length(json, 'document_length') };
  const most = (side: Side) => everywhere ?? sides[side] ?? usual;
  const lower = json.do_lower_case ?? false;
  if (typeof lower !== 'boolean') {
    throw new DataError(`"do_lower_case" must be true or false, found ${JSON.stringify(lower)}`, {
      file: path,
    });
  }
  const { trust_remote_code: _trust, ...config } = part('config_kwargs', 'config_args');
  return {
    maxTokens: Object.fromEntries(
      (['query', 'document'] as const).flatMap((side) => {
        const tokens = most(side);
        return tokens === undefined ? [] : [[side, tokens]];
      }),
    ),
    lowerCase: lower,
    tokenizer: Object.fromEntries(
      Object.entries(tokenizer).filter(([name]) => TOKENIZER_SETTINGS.includes(name)),
    ),
    config: Object.fromEntries(Object.entries(config).filter(([name]) => !HARMLESS_ARGUMENTS.includes(name))),
  };
}

/** Reads the first file that is there and not empty. */
async function settingsFile(folder: string): Promise<{ path: string; json: Json } | undefined> {
  for (const name of TRANSFORMER_FILES) {
    const path = join(folder, name);
    const json = existsSync(path) ? objectIn(await readJson(path), path) : {};
    if (Object.keys(json).length > 0) return { path, json };
  }
  return undefined;
}

/**
 * Reads a length in tokens; undefined for none, which Python writes as null or as a very large number.
 *
 * @throws DataError for anything else
 */
export function lengthOf(value: unknown, name: string, file: string): number | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== 'number' || !(value > 0) || (value < 1e15 && !Number.isInteger(value))) {
    throw new DataError(`"${name}" must be a number of tokens above 0, found ${JSON.stringify(value)}`, {
      file,
    });
  }
  return value < 1e15 ? value : undefined;
}
