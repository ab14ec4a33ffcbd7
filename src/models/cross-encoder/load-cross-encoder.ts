import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { DataError } from '../../util/errors.ts';
import { readJson, recoverFolder } from '../../util/files.ts';
import { isObject, type Json, objectIn, optionalJson } from '../../util/json-objects.ts';
import { option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';
import { checkConfig } from '../folder/config-json.ts';
import { checkFields } from '../folder/field-table.ts';
import { findModel } from '../folder/find-model.ts';
import { lowerCased } from '../folder/lower-case.ts';
import { namedModules } from '../folder/module-list.ts';
import { requireConfig } from '../folder/no-model.ts';
import { readTokenizer } from '../folder/read-tokenizer.ts';
import {
  lengthOf,
  readTransformerSettings,
  type TransformerSettings,
} from '../folder/transformer-settings.ts';
import { verifyWeights } from '../folder/undrift-json.ts';
import { openWeights, readWeights, storedShape } from '../folder/weight-files.ts';
import {
  CrossEncoder,
  type CrossEncoderConfig,
  crossEncoderParts,
  type ScoreActivation,
} from './cross-encoder.ts';
import { type CrossEncoderJson, readCrossEncoderJson } from './cross-encoder-json.ts';
import {
  activationOf,
  CLASSIFIER_CONFIG_FIELDS,
  CROSS_ENCODER_FIELDS,
  labelCount,
  PAIR_ARGUMENTS,
  SCORING_FIELDS,
} from './sentence-transformers-fields.ts';

/** Settings of {@link loadCrossEncoder}. */
export interface LoadCrossEncoderOptions {
  /** Longest pair, in tokens, special tokens included. Default: as the folder says. */
  readonly maxTokens?: number | undefined;
  /** Function from logit to score. Default: as the folder says. */
  readonly activation?: ScoreActivation | undefined;
  /** Name of the option by which the model was given, for messages. Default `model`. */
  readonly option?: string | undefined;
  /** Progress of a download in bytes, with the stage `download`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with notes on what the folder leaves open. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** Settings of {@link readCrossEncoder}. */
export interface ReadCrossEncoderOptions extends Omit<LoadCrossEncoderOptions, 'onProgress' | 'option'> {
  /** Seed of the initial head of an encoder that has none. Default: such an encoder is refused. */
  readonly newHead?: { readonly seed: number } | undefined;
  /** Called if the model gets a new head. */
  readonly onNewHead?: (() => void) | undefined;
}

/** Longest pair, in tokens, if neither the folder nor the architecture has a limit. */
const DEFAULT_MAX_TOKENS = 512;

/**
 * Loads a cross-encoder: from a model folder, from the folder of a training run (its best model), or by its name on the Hugging Face
 * hub. The folder may be one of Undrift, of sentence-transformers (CrossEncoder, old and new layout), or a model of transformers for
 * sequence classification with one label: BERT, DistilBERT, ModernBERT, MPNet, RoBERTa or XLM-RoBERTa.
 *
 * @throws UsageError when nothing is found, and for an architecture without a head for one label
 * @throws DataError that names the file, and the tensor or field in it, when something is missing, damaged or unsupported
 */
export async function loadCrossEncoder(
  model: string,
  { onProgress, option: by = 'model', ...options }: LoadCrossEncoderOptions = {},
): Promise<CrossEncoder> {
  const folder = await findModel(model, [], { option: by, onProgress, onNote: options.onNote });
  return await readCrossEncoder(folder, options);
}

/**
 * Reads a model folder as a cross-encoder.
 *
 * @throws DataError and UsageError as {@link loadCrossEncoder} does
 */
export async function readCrossEncoder(
  folder: string,
  options: ReadCrossEncoderOptions = {},
): Promise<CrossEncoder> {
  await recoverFolder(folder);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new DataError(existsSync(folder) ? 'this is a file, not a model folder' : 'no such folder', {
      file: folder,
      help: 'give the folder of a model: the one with config.json and model.safetensors',
    });
  }
  const own = await readCrossEncoderJson(folder);
  const foreign = own ? undefined : await readForeign(folder, options);
  const inside = foreign?.inside ?? folder;
  const { settings } = foreign ?? {};
  const configFile = join(inside, 'config.json');
  requireConfig(configFile);
  const stored = objectIn(await readJson(configFile), configFile);
  const config = { ...stored, ...settings?.config } as CrossEncoderConfig['model'];
  checkConfig(config, inside);
  checkFields(config, configFile, CLASSIFIER_CONFIG_FIELDS);
  checkLabels(stored, settings?.config.num_labels, { file: configFile, options });
  const given = await readTokenizer(inside, {
    config,
    isWhole: own !== undefined,
    settings: settings?.tokenizer,
    pairs: true,
    onNote: options.onNote,
  });
  const tokenizer = settings?.lowerCase ? lowerCased(given) : given;
  const { architecture, head, specs, model } = crossEncoderParts(config, configFile);
  const weights = await headedWeights(inside, { specs, head, headPrefix: architecture.headPrefix, options });
  if (own?.weights) await verifyWeights(folder, { weights: own.weights });
  const limit = architecture.maxTokens(model);
  const read =
    own ?? (await foreignSettings({ inside, config, settings, limit, foreign: foreign!, options }));
  return new CrossEncoder(
    {
      model: config,
      activation: options.activation ?? read.activation,
      maxTokens: options.maxTokens ?? read.maxTokens,
      tokenTypes: architecture.tokenTypes && read.tokenTypes,
    },
    tokenizer,
    { weights, trainedSteps: read.trainedSteps, file: configFile },
  );
}

/** What a folder of another program says beside config.json. */
interface Foreign {
  /** Folder of the transformer. */
  readonly inside: string;
  readonly settings: TransformerSettings | undefined;
  /** Content of `config_sentence_transformers.json`, and its path. */
  readonly model: { readonly json: Json; readonly file: string };
}

async function readForeign(folder: string, { newHead }: ReadCrossEncoderOptions): Promise<Foreign> {
  const file = join(folder, 'config_sentence_transformers.json');
  const json = (await optionalJson(file)) ?? {};
  const list = join(folder, 'modules.json');
  // An encoder that gets a new head keeps its tokens alone: pooling and what follows it are left.
  const isCrossEncoder = json.model_type === 'CrossEncoder';
  const startsAnew = newHead !== undefined && !isCrossEncoder;
  if (!startsAnew) checkModel(json, file);
  const modules = existsSync(list) ? await namedModules(list) : [];
  const [first, second] = modules;
  if ((first && first.kind !== 'Transformer') || (second && !startsAnew)) {
    throw new DataError(
      `its modules are ${modules.map(({ kind }) => kind).join(', ')}, and a cross-encoder is a Transformer alone here`,
      {
        file: list,
        help: startsAnew
          ? 'start from a transformer'
          : `cross-encoders with a classification head of one label can be read; a retriever has none: undrift train --method cross-encoder --model ${folder} trains one from it`,
      },
    );
  }
  const inside = join(folder, first?.folder ?? '');
  const settings = startsAnew
    ? await readTransformerSettings(inside)
    : await readTransformerSettings(inside, { fields: SCORING_FIELDS, text: PAIR_ARGUMENTS });
  return { inside, settings, model: { json, file } };
}

/** Checks the settings of a CrossEncoder of sentence-transformers. */
function checkModel(json: Json, file: string): void {
  checkFields(json, file, CROSS_ENCODER_FIELDS);
  const { default_prompt_name: name, prompts } = json;
  const prompt = typeof name === 'string' && isObject(prompts) ? prompts[name] : undefined;
  if (prompt === undefined || prompt === null || prompt === '') return;
  throw new DataError(`"default_prompt_name" is ${JSON.stringify(name)}: a prompt stands before every pair`, {
    file,
    help: 'cross-encoders without a prompt can be read',
  });
}

/** Checks that a model has one label. */
function checkLabels(
  config: Json,
  given: unknown,
  { file, options }: { file: string; options: ReadCrossEncoderOptions },
): void {
  const labels = typeof given === 'number' ? given : labelCount(config);
  if (labels === 1 || (labels === undefined && options.newHead !== undefined)) return;
  if (labels === undefined) return; // the weights tell whether there is a head
  throw new DataError(`the model has ${labels} labels, a cross-encoder that ranks has one`, {
    file,
    help: 'models of several labels classify pairs: take one with "num_labels": 1',
  });
}

/** Reads the weights, with a new head for an encoder that has none. */
async function headedWeights(
  inside: string,
  {
    specs,
    head,
    headPrefix,
    options: { newHead, onNewHead, onNote },
  }: Pick<ReturnType<typeof crossEncoderParts>, 'specs' | 'head'> & {
    headPrefix: string | undefined;
    options: ReadCrossEncoderOptions;
  },
): Promise<Record<string, HostTensor>> {
  const reader = await openWeights(inside);
  const file = join(inside, 'model.safetensors');
  try {
    const own = [...head.inEncoder, ...head.outside].map(({ name }) => name);
    const hasHead = head.outside.some(({ name }) => storedShape(reader, name, file) !== undefined);
    if (!hasHead && newHead === undefined) {
      throw new DataError('the model has no classification head: it gives no score for a pair', {
        file,
        help: `a cross-encoder is needed here; ${option('method', 'cross-encoder')} of training makes one from an encoder`,
      });
    }
    if (!hasHead) {
      onNewHead?.();
      onNote?.(`the model has no classification head: it gets a new one (${head.modelClass})`);
    }
    const isFoldable = (name: string): boolean => !hasHead && own.includes(name);
    return await readWeights(reader, specs, { file, headPrefix, isFoldable, seed: newHead?.seed, onNote });
  } finally {
    await reader.close();
  }
}

/** Reads activation, length and token types where Python reads them. */
async function foreignSettings({
  inside,
  config,
  settings,
  limit,
  foreign,
  options,
}: {
  inside: string;
  config: Json;
  settings: TransformerSettings | undefined;
  limit: number | undefined;
  foreign: Foreign;
  options: ReadCrossEncoderOptions;
}): Promise<CrossEncoderJson> {
  const file = join(inside, 'tokenizer_config.json');
  const tokenizer = { ...(await optionalJson(file)), ...settings?.tokenizer };
  const configFile = join(inside, 'config.json');
  const { sentence_transformers: nested } = config;
  const activation = activationOf([
    { value: foreign.model.json.activation_fn, file: foreign.model.file, field: 'activation_fn' },
    {
      value: isObject(nested) ? nested.activation_fn : undefined,
      file: configFile,
      field: 'sentence_transformers.activation_fn',
    },
    {
      value: config.sbert_ce_default_activation_function,
      file: configFile,
      field: 'sbert_ce_default_activation_function',
    },
  ]);
  const named =
    settings?.maxTokens.document ?? lengthOf(tokenizer.model_max_length, 'model_max_length', file);
  const most = limit ?? Number.POSITIVE_INFINITY;
  if (named === undefined && options.maxTokens === undefined && limit === undefined) {
    options.onNote?.(`the folder names no maximum length: pairs are cut at ${DEFAULT_MAX_TOKENS} tokens`);
  }
  return {
    activation,
    maxTokens: Math.min(named ?? limit ?? DEFAULT_MAX_TOKENS, most),
    tokenTypes: feedsTypes(tokenizer, config),
    trainedSteps: 0,
  };
}

/** Classes of transformers that give token types by default, without `Fast`. */
const TYPED_CLASSES = new Set(['BertTokenizer']);

/** Tells whether transformers feeds token types to the model: as the settings say, else by the class of the tokenizer. */
function feedsTypes(tokenizer: Json, config: Json): boolean {
  const { model_input_names: names, tokenizer_class: own } = tokenizer;
  if (Array.isArray(names)) return names.includes('token_type_ids');
  const named = own ?? config.tokenizer_class;
  if (typeof named === 'string') return TYPED_CLASSES.has(named.replace(/Fast$/, ''));
  return config.model_type === 'bert';
}
