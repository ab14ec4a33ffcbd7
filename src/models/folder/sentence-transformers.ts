import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { POOLINGS, type Pooling } from '../../nn/layers.ts';
import { DataError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { isObject, type Json, objectIn, optionalJson } from '../../util/json-objects.ts';
import type { Architecture } from '../architectures/architecture.ts';

/**
 * Modules of a sentence-transformers model: `modules.json` names folder and class of each,
 * `1_Pooling/config.json` the pooling, `2_Dense/` the projection.
 */
export interface ModuleList {
  /**
   * Folder of the first module's tokenizer and weights, relative to the model folder; '' for the model folder
   * itself.
   */
  readonly encoder: string;
  /** Class of the first module. A StaticEmbedding has no config.json. */
  readonly moduleClass: ModuleClass;
  /** Pooling of token vectors; absent if the folder names none. */
  readonly pooling?: Pooling;
  /** Folder of the projection, relative to the model folder; absent if there is none. */
  readonly projection?: string;
  /** Whether vectors are normalised; absent if the folder has neither a Normalize module nor a kind of similarity. */
  readonly normalize?: boolean;
  /** Prompts by their names in sentence-transformers. */
  readonly prompts: Readonly<Record<string, string>>;
  /** Longest text, in tokens; absent if the folder names none. */
  readonly maxTokens?: number;
  /** Leading dimensions to keep (`truncate_dim`); absent for all. */
  readonly dimensions?: number;
  /** Notes on settings that are not used. */
  readonly notes: readonly string[];
}

/** Class of the first module of a model. */
export type ModuleClass = Architecture<unknown>['moduleClass'];

/** Old spellings, which every version of sentence-transformers reads; version 6 through a table of its own. */
const CLASSES = 'sentence_transformers.models';
const IDENTITY = 'torch.nn.modules.linear.Identity';

/** Settings of an encoder that the module files hold. */
interface Parts {
  moduleClass: ModuleClass;
  hiddenSize: number;
  projectionSize?: number | undefined;
  dimensions?: number | undefined;
  pooling: Pooling;
  normalize: boolean;
  maxTokens: number;
  prompts: Readonly<Record<'query' | 'document', string>>;
}

/** Makes the module files of an encoder, by path, and the folder of its projection if it has one. */
export function moduleFiles(parts: Parts): { files: Record<string, unknown>; projection?: string } {
  const modules: { idx: number; name: string; path: string; type: string }[] = [];
  const add = (type: string, inFolder = true): string => {
    const idx = modules.length;
    const path = inFolder ? `${idx}_${type}` : '';
    modules.push({ idx, name: String(idx), path, type: `${CLASSES}.${type}` });
    return path;
  };
  const files: Record<string, unknown> = {};
  add(parts.moduleClass, false);
  if (parts.moduleClass === 'Transformer') {
    files['sentence_bert_config.json'] = { max_seq_length: parts.maxTokens, do_lower_case: false };
    files[`${add('Pooling')}/config.json`] = {
      word_embedding_dimension: parts.hiddenSize,
      ...Object.fromEntries(Object.entries(MODES).map(([key, mode]) => [key, parts.pooling === mode])),
      include_prompt: true,
    };
  }
  let projection: string | undefined;
  if (parts.projectionSize) {
    projection = add('Dense');
    files[`${projection}/config.json`] = {
      in_features: parts.hiddenSize,
      out_features: parts.projectionSize,
      bias: false,
      activation_function: IDENTITY,
    };
  }
  if (parts.normalize) add('Normalize');
  files['modules.json'] = modules;
  files['config_sentence_transformers.json'] = sentenceTransformersConfig(parts);
  return { files, ...(projection && { projection }) };
}

/**
 * Makes the files that join the complete folders `query` and `document` to one asymmetric model, a Router:
 * `encode_query` and `encode_document` each use their own tower.
 */
export function routerFiles(
  parts: Pick<Parts, 'prompts' | 'normalize' | 'dimensions'>,
  tower: Record<string, unknown>,
): Record<string, unknown> {
  const modules = tower['modules.json'] as { path: string; type: string }[];
  const types: Record<string, string> = {};
  const structure: Record<string, string[]> = {};
  for (const side of ['query', 'document']) {
    structure[side] = modules.map(({ path }) => (path === '' ? side : `${side}/${path}`));
    for (const [i, { type }] of modules.entries()) types[structure[side]![i]!] = type;
  }
  return {
    'modules.json': [{ idx: 0, name: '0', path: '', type: `${CLASSES}.Router` }],
    'router_config.json': { types, structure, parameters: { default_route: 'document' } },
    'config_sentence_transformers.json': sentenceTransformersConfig(parts),
  };
}

const sentenceTransformersConfig = ({
  prompts,
  normalize,
  dimensions,
}: Pick<Parts, 'prompts' | 'normalize' | 'dimensions'>) => ({
  model_type: 'SentenceTransformer',
  prompts,
  default_prompt_name: null,
  similarity_fn_name: normalize ? 'cosine' : 'dot',
  ...(dimensions !== undefined && { truncate_dim: dimensions }),
});

/**
 * Reads the module files of a folder, in old and new spellings; undefined if there are none.
 *
 * @throws DataError for unsupported modules, poolings or projections
 */
export async function readModuleList(folder: string): Promise<ModuleList | undefined> {
  const path = join(folder, 'modules.json');
  const notes: string[] = [];
  const config = await optionalJson(join(folder, 'config_sentence_transformers.json'));
  if (!existsSync(path)) {
    const pooling = await readPooling(join(folder, '1_Pooling', 'config.json'), notes);
    if (!config && !pooling) return undefined;
    return {
      encoder: '',
      moduleClass: 'Transformer',
      ...(pooling && { pooling }),
      ...fromConfig(config, notes),
      notes,
    };
  }
  const list = await readJson(path);
  if (!Array.isArray(list) || list.length === 0 || !list.every(isModule)) {
    throw new DataError('expected a list of modules, each with "type" and a "path" inside the folder', {
      file: path,
    });
  }
  const modules = list.map((module) => ({
    folder: module.path,
    kind: module.type.slice(module.type.lastIndexOf('.') + 1),
  }));
  const { 0: first, length } = modules;
  const moduleClass = first!.kind;
  if (moduleClass !== 'Transformer' && moduleClass !== 'StaticEmbedding') {
    throw new DataError(`the first module is a ${moduleClass}, which we do not have`, {
      file: path,
      help: 'models that begin with a Transformer or a StaticEmbedding can be read',
    });
  }
  let next = 1;
  const take = (wanted: string) => (modules[next]?.kind === wanted ? modules[next++]!.folder : undefined);
  const poolingFolder = moduleClass === 'Transformer' ? take('Pooling') : undefined;
  const pooling =
    poolingFolder === undefined
      ? undefined
      : await readPooling(join(folder, poolingFolder, 'config.json'), notes, true);
  const projection = take('Dense');
  if (projection !== undefined) await checkProjection(join(folder, projection, 'config.json'));
  const normalized = take('Normalize') !== undefined;
  if (next !== length) {
    throw new DataError(`module ${next} is a ${modules[next]!.kind}, which we do not have at this place`, {
      file: path,
      help: 'the order is Transformer, Pooling, Dense, Normalize; the last two may be absent',
    });
  }
  const sizes = await optionalJson(join(folder, first!.folder, 'sentence_bert_config.json'));
  const maxTokens = sizes?.max_seq_length;
  if (sizes?.do_lower_case === true) {
    notes.push('sentence_bert_config.json asks for lower case, which we leave to tokenizer.json');
  }
  return {
    encoder: first!.folder,
    moduleClass,
    ...(pooling && { pooling }),
    ...(projection !== undefined && { projection }),
    ...fromConfig(config, notes),
    // Cosines equal dot products of normalised vectors, so a model that is compared by cosine may lack the
    // Normalize module.
    ...(normalized && { normalize: true }),
    ...(Number.isSafeInteger(maxTokens) && (maxTokens as number) > 0 && { maxTokens: maxTokens as number }),
    notes,
  };
}

function fromConfig(
  config: Json | undefined,
  notes: string[],
): Pick<ModuleList, 'normalize' | 'prompts' | 'dimensions'> {
  const prompts: Record<string, string> = {};
  if (isObject(config?.prompts)) {
    for (const [name, prompt] of Object.entries(config.prompts)) {
      if (typeof prompt === 'string') prompts[name] = prompt;
    }
  }
  const fallback = prompts[String(config?.default_prompt_name)];
  for (const name of fallback === undefined ? [] : ['query', 'document']) prompts[name] ??= fallback!;
  const similarity = config?.similarity_fn_name;
  const truncated = config?.truncate_dim;
  if (similarity === 'euclidean' || similarity === 'manhattan') {
    notes.push(`the model was made for ${similarity} distances; we score by dot products`);
  }
  return {
    prompts,
    ...(similarity === 'cosine' && { normalize: true }),
    ...(similarity === 'dot' && { normalize: false }),
    ...(Number.isSafeInteger(truncated) && (truncated as number) > 0 && { dimensions: truncated as number }),
  };
}

/** Old spellings of the poolings, with one boolean each. */
const MODES: Readonly<Record<string, Pooling>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_max_tokens: 'max',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
  pooling_mode_lasttoken: 'lasttoken',
};

async function readPooling(file: string, notes: string[], required = false): Promise<Pooling | undefined> {
  const config = required ? objectIn(await readJson(file), file) : await optionalJson(file);
  if (!config) return undefined;
  const old = Object.entries(MODES).filter(([key]) => config[key] === true);
  const modes =
    config.pooling_mode === undefined ? old.map(([, mode]) => mode) : [config.pooling_mode].flat();
  const mode = POOLINGS.find((each) => each === (modes[0] ?? 'mean'));
  if (modes.length > 1 || !mode) {
    throw new DataError(`pooling by ${modes.join(' and ')} is not supported`, {
      file,
      help: `one of these is: ${POOLINGS.join(', ')}`,
    });
  }
  if (config.include_prompt === false) {
    notes.push('the pooling is to leave out the prompt; we pool over it too');
  }
  return mode;
}

async function checkProjection(file: string): Promise<void> {
  const config = objectIn(await readJson(file), file);
  const unlike = (what: string) =>
    new DataError(`${what} of the Dense module is not supported`, {
      file,
      help: 'our projection is linear, without a bias, and acts on the pooled vector',
    });
  const { activation_function: activation, module_input_name: input = 'sentence_embedding' } = config;
  if (config.bias !== false) throw unlike('the bias');
  if (activation !== IDENTITY) throw unlike(`the activation function ${activation ?? 'Tanh'}`);
  if (config.use_residual === true) throw unlike('the residual');
  if (input !== 'sentence_embedding' || (config.module_output_name ?? input) !== input) {
    throw unlike(`the input "${input}" or the output`);
  }
}

const isModule = (value: unknown): value is { path: string; type: string } =>
  isObject(value) &&
  typeof value.type === 'string' &&
  typeof value.path === 'string' &&
  !isAbsolute(value.path) &&
  !value.path.split(/[\\/]/).includes('..');
