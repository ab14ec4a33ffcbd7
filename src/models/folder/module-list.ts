import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { DenseLayer } from '../../nn/dense.ts';
import { POOLINGS, type Pooling } from '../../nn/layers.ts';
import { DataError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { isObject, type Json, objectIn, optionalJson } from '../../util/json-objects.ts';
import type { Architecture } from '../architectures/architecture.ts';
import { readDenseLayer } from './dense-modules.ts';
import { checkFields, type FieldTable, isOneOf } from './field-table.ts';
import { lengthOf, readTransformerSettings, type TransformerSettings } from './transformer-settings.ts';

/**
 * Modules of a sentence-transformers model: `modules.json` names folder and class of each,
 * `1_Pooling/config.json` the pooling, `2_Dense/` a dense layer.
 */
export interface ModuleList {
  /**
   * Folder of the first module's tokenizer and weights, relative to the model folder; '' for the model folder
   * itself.
   */
  readonly encoder: string;
  /** Class of the first module. A StaticEmbedding has no config.json. */
  readonly moduleClass: ModuleClass;
  /** Settings of a Transformer module. */
  readonly transformer?: TransformerSettings;
  /** Pooling of token vectors; absent if the folder names none. */
  readonly pooling?: PoolingSettings;
  /** Dense layers, each with its folder relative to the model folder. */
  readonly dense: readonly { readonly folder: string; readonly layer: DenseLayer }[];
  /** Whether vectors are normalised; absent if the folder has neither a Normalize module nor a kind of similarity. */
  readonly normalize?: boolean;
  /** Prompts by their names in sentence-transformers. */
  readonly prompts: Readonly<Record<string, string>>;
  /** Leading dimensions to keep (`truncate_dim`); absent for all. */
  readonly dimensions?: number;
  /** Longest text of a StaticEmbedding, in tokens, if a file other than tokenizer.json names it. */
  readonly maxTokens?: number;
}

/** Class of the first module of a model. */
export type ModuleClass = Architecture<unknown>['moduleClass'];

/** Settings of a Pooling module. */
export interface PoolingSettings {
  readonly pooling: Pooling;
  /** Whether the tokens of the prompt are pooled. */
  readonly includePrompt: boolean;
}

/** Module as `modules.json` names it. */
export interface Module {
  readonly folder: string;
  readonly kind: string;
}

/** Fields of `config_sentence_transformers.json`. Others are not read by sentence-transformers. */
export const MODEL_FIELDS: FieldTable = {
  prompts: 'followed',
  default_prompt_name: 'followed',
  similarity_fn_name: 'followed',
  truncate_dim: 'followed',
  model_type: {
    accepts: isOneOf('SentenceTransformer'),
    means: 'the model gives no single vector for each text',
    help: 'models of the kind SentenceTransformer can be read',
  },
  __version__: 'harmless',
  requirements: 'harmless',
};

/** Old spellings of the poolings, with one boolean each. */
export const POOLING_MODES: Readonly<Record<string, Pooling>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_max_tokens: 'max',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
  pooling_mode_lasttoken: 'lasttoken',
};

/** Fields of the file of a Pooling module. */
export const POOLING_FIELDS: FieldTable = {
  ...Object.fromEntries(Object.keys(POOLING_MODES).map((name) => [name, 'followed' as const])),
  pooling_mode: 'followed',
  include_prompt: 'followed',
  embedding_dimension: 'harmless',
  word_embedding_dimension: 'harmless',
};

const WHOLE_VECTOR = {
  accepts: isOneOf('sentence_embedding'),
  means: 'it does not normalise the vector of the text',
  help: 'modules that act on the pooled vector can be read',
};

/** Fields of the file of a Normalize module. */
export const NORMALIZE_FIELDS: FieldTable = {
  module_input_name: WHOLE_VECTOR,
  module_output_name: WHOLE_VECTOR,
};

/**
 * Reads the module files of a folder, in old and new spellings; undefined if there are none.
 *
 * @throws DataError for unsupported modules, poolings or dense layers
 */
export async function readModuleList(folder: string): Promise<ModuleList | undefined> {
  const path = join(folder, 'modules.json');
  const configFile = join(folder, 'config_sentence_transformers.json');
  const config = await optionalJson(configFile);
  if (config) checkFields(config, configFile, MODEL_FIELDS);
  if (!existsSync(path)) {
    const bare = await bareStatic(join(folder, 'config.json'));
    if (bare) return bare;
    const pooling = await readPooling(join(folder, '1_Pooling', 'config.json'));
    if (!config && !pooling) return undefined;
    return {
      encoder: '',
      moduleClass: 'Transformer',
      ...(pooling && { pooling }),
      dense: [],
      ...settingsOf(config, configFile, false),
    };
  }
  const modules = await namedModules(path);
  const { 0: first } = modules;
  const moduleClass = first!.kind;
  if (moduleClass !== 'Transformer' && moduleClass !== 'StaticEmbedding') {
    throw new DataError(`the first module is a ${moduleClass}, which we do not have`, {
      file: path,
      help: 'models that begin with a Transformer or a StaticEmbedding can be read',
    });
  }
  const rest = modules.slice(1);
  const poolingFolder =
    moduleClass === 'Transformer' && rest[0]?.kind === 'Pooling' ? rest.shift()!.folder : undefined;
  const pooling =
    poolingFolder === undefined
      ? undefined
      : await readPooling(join(folder, poolingFolder, 'config.json'), true);
  const { dense, normalized } = await readHead(folder, rest, { path, before: modules.length - rest.length });
  return {
    encoder: first!.folder,
    moduleClass,
    ...(moduleClass === 'Transformer' && {
      transformer: await readTransformerSettings(join(folder, first!.folder)),
    }),
    ...(pooling && { pooling }),
    dense,
    ...settingsOf(config, configFile, normalized),
  };
}

/**
 * Reads the configuration of a folder of model2vec without modules, as sentence-transformers takes it
 * (`StaticEmbedding.from_model2vec`); undefined if it is no such folder.
 */
async function bareStatic(file: string): Promise<ModuleList | undefined> {
  const config = await optionalJson(file);
  if (config?.model_type !== 'model2vec') return undefined;
  const { normalize } = config;
  const maxTokens = lengthOf(config.max_length, 'max_length', file);
  return {
    encoder: '',
    moduleClass: 'StaticEmbedding',
    dense: [],
    prompts: {},
    ...(typeof normalize === 'boolean' && { normalize }),
    ...(maxTokens !== undefined && { maxTokens }),
  };
}

/** Reads the list of modules. */
export async function namedModules(path: string): Promise<Module[]> {
  const list = await readJson(path);
  if (!Array.isArray(list) || list.length === 0 || !list.every(isModule)) {
    throw new DataError('expected a list of modules, each with "type" and a "path" inside the folder', {
      file: path,
    });
  }
  const foreign = list.find(({ type }) => !type.startsWith('sentence_transformers.'));
  if (foreign) {
    throw new DataError(
      `the module ${foreign.type} is Python code of the model's own, and Undrift runs no code of a folder`,
      {
        file: path,
        help: "if it computes what sentence-transformers' own module of this kind computes, write that one's name in a copy of the folder, such as sentence_transformers.models.Transformer",
      },
    );
  }
  // In Python the modules are a dictionary by name, in which a later one replaces an earlier one.
  const names = list.map(({ name }) => name).filter((name) => name !== undefined);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new DataError(`two modules have the name ${JSON.stringify(twice)}`, {
      file: path,
      help: 'sentence-transformers would use the last of them only: remove the others, or give each a name of its own',
    });
  }
  return list.map(({ path, type }) => ({ folder: path, kind: type.slice(type.lastIndexOf('.') + 1) }));
}

const isModule = (value: unknown): value is { path: string; type: string; name?: unknown } =>
  isObject(value) &&
  typeof value.type === 'string' &&
  typeof value.path === 'string' &&
  !isAbsolute(value.path) &&
  !value.path.split(/[\\/]/).includes('..');

/** Reads the modules after the pooling: dense layers and normalisations, in any order. */
async function readHead(
  folder: string,
  modules: readonly Module[],
  { path, before }: { path: string; before: number },
): Promise<{ dense: ModuleList['dense']; normalized: boolean }> {
  const dense: { folder: string; layer: DenseLayer }[] = [];
  let normalized = false;
  for (const [i, { folder: own, kind }] of modules.entries()) {
    const file = join(folder, own, 'config.json');
    if (kind === 'Dense') {
      const layer = await readDenseLayer(file);
      dense.push({ folder: own, layer: { ...layer, ...(normalized && { normalizeInput: true }) } });
      normalized = false;
    } else if (kind === 'Normalize') {
      const config = own === '' ? undefined : await optionalJson(file);
      if (config) checkFields(config, file, NORMALIZE_FIELDS);
      normalized = true;
      // Dropout acts in training only.
    } else if (kind !== 'Dropout') {
      throw new DataError(`module ${before + i} is a ${kind}, which we do not have at this place`, {
        file: path,
        help: 'the order is Transformer, Pooling, and after them any of Dense and Normalize',
      });
    }
  }
  return { dense, normalized };
}

/** Reads the settings that belong to no module. */
function settingsOf(
  config: Json | undefined,
  file: string,
  normalized: boolean,
): Pick<ModuleList, 'normalize' | 'prompts' | 'dimensions'> {
  const { similarity_fn_name: similarity, truncate_dim: dimensions } = config ?? {};
  if (
    dimensions !== undefined &&
    dimensions !== null &&
    !(Number.isSafeInteger(dimensions) && Number(dimensions) > 0)
  ) {
    throw new DataError(`"truncate_dim" must be a positive integer, found ${JSON.stringify(dimensions)}`, {
      file,
    });
  }
  const kept = typeof dimensions === 'number' ? { dimensions } : {};
  const isDistance = similarity === 'euclidean' || similarity === 'manhattan';
  // Of vectors of one length, the nearest by Euclidean distance have the largest dot products.
  if (isDistance && !(similarity === 'euclidean' && normalized && !('dimensions' in kept))) {
    throw new DataError(`"similarity_fn_name" is "${similarity}": documents are ranked by distance`, {
      file,
      help: 'we rank by dot products or cosines: write "dot" or "cosine" in a copy of the folder if that is near enough',
    });
  }
  if (similarity === 'dot' && normalized && 'dimensions' in kept) {
    throw new DataError(
      '"similarity_fn_name" is "dot", and "truncate_dim" cuts vectors after they were normalised',
      {
        file,
        help: 'we cut first, so that vectors have length 1: write "cosine" in a copy of the folder if that is meant',
      },
    );
  }
  return {
    prompts: readPrompts(config ?? {}, file),
    ...kept,
    ...(similarity === 'cosine' && { normalize: true }),
    ...(similarity === 'dot' && { normalize: false }),
    // Cosines equal dot products of normalised vectors, so a model that is compared by cosine may lack the
    // Normalize module.
    ...(normalized && { normalize: true }),
  };
}

/**
 * Reads the prompts. The default prompt is for texts of no side, so it comes before neither queries nor documents.
 */
function readPrompts({ prompts, default_prompt_name: fallback }: Json, file: string): Record<string, string> {
  const given = objectIn(prompts ?? {}, file);
  const texts: Record<string, string> = {};
  for (const [name, prompt] of Object.entries(given)) {
    if (typeof prompt !== 'string' && prompt !== null) {
      throw new DataError(`the prompt "${name}" must be a text, found ${JSON.stringify(prompt)}`, { file });
    }
    texts[name] = prompt ?? '';
  }
  const known = ['query', 'document', ...Object.keys(texts)];
  if (fallback !== undefined && fallback !== null && !known.includes(fallback as string)) {
    throw new DataError(`"default_prompt_name" is ${JSON.stringify(fallback)}, and there is no such prompt`, {
      file,
      help: `name one of ${known.join(', ')}, or remove the field`,
    });
  }
  return texts;
}

async function readPooling(file: string, required = false): Promise<PoolingSettings | undefined> {
  const config = required ? objectIn(await readJson(file), file) : await optionalJson(file);
  if (!config) return undefined;
  checkFields(config, file, POOLING_FIELDS, { unknown: 'refuse' });
  const old = Object.entries(POOLING_MODES).filter(([key]) => config[key] === true);
  const modes =
    config.pooling_mode === undefined ? old.map(([, mode]) => mode) : [config.pooling_mode].flat();
  const pooling = POOLINGS.find((each) => each === (modes[0] ?? 'mean'));
  if (modes.length > 1 || !pooling) {
    throw new DataError(`pooling by ${modes.join(' and ')} is not supported`, {
      file,
      help: `one of these is: ${POOLINGS.join(', ')}`,
    });
  }
  const { include_prompt: includePrompt = true } = config;
  if (typeof includePrompt !== 'boolean') {
    throw new DataError(`"include_prompt" must be true or false, found ${JSON.stringify(includePrompt)}`, {
      file,
    });
  }
  return { pooling, includePrompt };
}
