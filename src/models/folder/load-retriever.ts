import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SafetensorsReader } from '../../io/safetensors.ts';
import type { Pooling } from '../../nn/layers.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { readJson, recoverFolder } from '../../util/files.ts';
import { objectIn, optionalJson } from '../../util/json-objects.ts';
import { type NoteListener, option, tellNote } from '../../util/option-name.ts';
import type { EncoderWeights } from '../architectures/architecture.ts';
import { staticEmbedding } from '../architectures/static.ts';
import { canonicalJson, embeddingSpaceId, tokenizerKey } from '../retriever/embedding-space.ts';
import { Encoder, type EncoderConfig, PROJECTION } from '../retriever/encoder.ts';
import { Retriever, type RetrieverConfig, type Side } from '../retriever/retriever.ts';
import { promptHint } from './prompt-hint.ts';
import { type ModuleList, readModuleList } from './sentence-transformers.ts';
import {
  LONGEST_TOKENS,
  readUndriftJson,
  UNDRIFT_JSON,
  type UndriftJson,
  verifyWeights,
} from './undrift-json.ts';
import { openWeights, readWeights, storedShape } from './weight-files.ts';

/** Settings that override those of the folder. Every setting except `onNote` changes the embedding space. */
export interface LoadOptions {
  /** Pooling of token vectors. Default that of the folder, else `mean`. */
  pooling?: Pooling;
  /** Normalise vectors to unit length. Default as in the folder, else true. */
  normalize?: boolean;
  /** Size of a new projection, with initial weights from `seed`, for a folder without one. Default none. */
  projectionSize?: number;
  /**
   * Leading dimensions of the vectors to keep (Matryoshka), at most as many as there are. Default as in the
   * folder, else all.
   */
  dimensions?: number;
  /** `separate` makes two towers out of one, to be trained separately. Default as in the folder. */
  towers?: RetrieverConfig['towers'];
  /** Texts to put before every query and document. Default those of the folder. */
  prompts?: Partial<RetrieverConfig['prompts']>;
  /** Longest query and document, in tokens. Default as in the folder, else 512 or the limit of the encoder. */
  maxTokens?: Partial<RetrieverConfig['maxTokens']>;
  /** Seed of the weights that the folder lacks. Default 0. */
  seed?: number;
  /** Called with notes on assumptions about missing settings, and on parts of the folder that were not used. */
  onNote?: NoteListener;
}

/** Longest text, in tokens, if neither the folder nor the encoder has a limit. */
const DEFAULT_MAX_TOKENS = 512;

/**
 * Reads a model folder.
 *
 * The folder may be one of Undrift (`saveRetriever`), of sentence-transformers (Transformer or
 * StaticEmbedding, with or without a projection), or a plain Hugging Face model of a supported architecture.
 * Weights are safetensors, whole or in shards, in f32 or half precision.
 *
 * @throws DataError that names the file, and the tensor or field in it, when something is missing, damaged,
 *   of another shape or unsupported
 * @throws UsageError when an option contradicts the folder
 */
export async function loadRetriever(folder: string, options: LoadOptions = {}): Promise<Retriever> {
  await recoverFolder(folder);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new DataError(existsSync(folder) ? 'this is a file, not a model folder' : 'no such folder', {
      file: folder,
      help: 'give the folder of a model: the one with config.json and model.safetensors',
    });
  }
  for (let tries = 1; ; tries++) {
    const own = await readUndriftJson(join(folder, UNDRIFT_JSON));
    try {
      return await loadWhole(folder, own, options);
    } catch (error) {
      // A training run may have replaced the folder while it was read.
      const now = await readUndriftJson(join(folder, UNDRIFT_JSON)).catch(() => undefined);
      const wasReplaced = now !== undefined && canonicalJson(now) !== canonicalJson(own ?? null);
      if (!wasReplaced || tries === REPLACED_TRIES) throw error;
    }
  }
}

/** Number of tries to read a folder that another process replaces. */
const REPLACED_TRIES = 3;

async function loadWhole(
  folder: string,
  own: UndriftJson | undefined,
  options: LoadOptions,
): Promise<Retriever> {
  const retriever =
    own?.towers === 'separate' ? await loadPair(folder, own, options) : await loadTower(folder, own, options);
  if (own) await verifyWeights(folder, own);
  if (own?.tower) {
    options.onNote?.(
      `${folder} is the ${own.tower} tower of a pair: by itself it is an embedding space of its own`,
    );
  } else if (own && !asksForChange(options, own)) {
    const found = embeddingSpaceId(retriever);
    if (found !== own.embeddingSpace) {
      options.onNote?.(
        `${folder} was changed after it was saved: its embedding space is ${found}, ${UNDRIFT_JSON} says ${own.embeddingSpace}`,
      );
    }
  }
  return retriever;
}

/** Tells whether an option differs from the folder. */
function asksForChange(options: LoadOptions, own: UndriftJson): boolean {
  const { pooling, normalize, projectionSize, dimensions, towers, prompts = {}, maxTokens = {} } = options;
  const differs = <T extends object>(asked: { [K in keyof T]?: T[K] | undefined }, said: T) =>
    (Object.keys(asked) as (keyof T)[]).some((key) => asked[key] !== undefined && asked[key] !== said[key]);
  return (
    differs({ pooling, normalize, projectionSize, dimensions, towers }, own) ||
    differs(prompts, own.prompts) ||
    differs(maxTokens, own.maxTokens)
  );
}

/** Encoder and tokenizer read from a folder. */
interface Tower {
  /** Folder of the encoder's files. */
  inside: string;
  tokenizer: Tokenizer;
  encoder: Encoder;
  /** Weights; a projection that is still to be initialised is absent. */
  weights: EncoderWeights;
  modules: ModuleList | undefined;
}

/** Settings of a folder apart from tokenizer, configuration and weights. */
type Settings = Pick<UndriftJson, 'towers' | 'prompts' | 'maxTokens' | 'trainedSteps'>;

async function loadTower(
  folder: string,
  own: UndriftJson | undefined,
  options: LoadOptions,
): Promise<Retriever> {
  const tower = await readTower(folder, own, options);
  const settings = own ?? (await foreignSettings(folder, tower, options));
  const towers = options.towers ?? 'shared';
  return build(tower, { ...settings, towers }, options, { query: tower.weights, document: tower.weights });
}

async function loadPair(folder: string, own: UndriftJson, options: LoadOptions): Promise<Retriever> {
  if (options.towers === 'shared') {
    throw new UsageError(`${folder} has two towers, which cannot be made one`, {
      help: `load one of them: ${join(folder, 'document')}`,
    });
  }
  const query = await readTower(join(folder, 'query'), own, options);
  const document = await readTower(join(folder, 'document'), own, options);
  const differ = (what: string) =>
    new DataError(`the towers query and document have different ${what}`, {
      file: folder,
      help: 'both must come from one training run',
    });
  if (canonicalJson(query.encoder.config) !== canonicalJson(document.encoder.config)) {
    throw differ('configurations');
  }
  if (tokenizerKey(query.tokenizer.toJson()) !== tokenizerKey(document.tokenizer.toJson())) {
    throw differ('tokenizers');
  }
  return build(document, own, options, { query: query.weights, document: document.weights });
}

function build(
  { tokenizer, encoder }: Tower,
  settings: Settings,
  { prompts, maxTokens, seed }: LoadOptions,
  towers: Readonly<Record<Side, EncoderWeights>>,
): Retriever {
  const { towers: kind, trainedSteps } = settings;
  const sides: Record<string, Side> =
    kind === 'shared' ? { encoder: 'document' } : { query: 'query', document: 'document' };
  const weights: Record<string, HostTensor> = {};
  for (const [prefix, side] of Object.entries(sides)) {
    // Two towers made of one must not share arrays, because training changes them separately.
    const copy = side === 'query' && towers.query === towers.document;
    for (const [name, tensor] of Object.entries(towers[side])) {
      weights[`${prefix}/${name}`] = copy ? { ...tensor, data: tensor.data.slice() } : tensor;
    }
  }
  return new Retriever(
    {
      encoder: encoder.config,
      towers: kind,
      prompts: { ...settings.prompts, ...prompts },
      maxTokens: { ...settings.maxTokens, ...maxTokens },
    },
    tokenizer,
    { weights, trainedSteps, ...(seed !== undefined && { seed }) },
  );
}

async function readTower(folder: string, own: UndriftJson | undefined, options: LoadOptions): Promise<Tower> {
  const modules = await readModuleList(folder);
  for (const note of modules?.notes ?? []) options.onNote?.(note);
  const inside = join(folder, modules?.encoder ?? '');
  const configFile = join(inside, 'config.json');
  const tokenizerFile = join(inside, 'tokenizer.json');
  const file = join(inside, 'model.safetensors');
  const isBag = modules?.moduleClass === 'StaticEmbedding';
  const config = isBag ? await optionalJson(configFile) : objectIn(await readJson(configFile), configFile);
  const tokenizer = readTokenizer(tokenizerFile);
  const reader = await openWeights(inside);
  try {
    const model = isBag ? bagConfig(config, reader, file) : (config as EncoderConfig['model']);
    const denseFolder = modules?.projection === undefined ? undefined : join(folder, modules.projection);
    const dense = denseFolder === undefined ? undefined : await readDense(denseFolder);
    const stored = dense?.dims[0] ?? reader.tensors.get(PROJECTION)?.dims[0] ?? own?.projectionSize;
    const { projectionSize = stored } = options;
    if (stored !== undefined && projectionSize !== stored) {
      throw new UsageError(`${folder} has a projection to ${stored} dimensions, not to ${projectionSize}`, {
        help: 'leave the size out, or start from a model without a projection',
      });
    }
    const settings = { ...encoderSettings(own, modules, options), ...(projectionSize && { projectionSize }) };
    const encoder = new Encoder({ model, ...settings }, configFile);
    if (dense && dense.dims[1] !== encoder.hiddenSize) {
      throw new DataError(
        `tensor 'linear.weight' projects ${dense.dims[1]} dimensions, the encoder has ${encoder.hiddenSize}`,
        {
          file: join(denseFolder!, 'model.safetensors'),
          help: 'encoder and projection come from different models',
        },
      );
    }
    const inFile = encoder.specs.filter(({ name }) => name !== PROJECTION || (stored && !dense));
    const weights = await readWeights(reader, inFile, {
      file,
      isFoldable: (name) => encoder.isFoldable(name),
      headPrefix: encoder.headPrefix,
      onNote: options.onNote,
    });
    if (dense) weights[PROJECTION] = dense;
    if (tokenizer.vocabSize > encoder.vocabSize) {
      throw new DataError(
        `the tokenizer has ${tokenizer.vocabSize} tokens, the embedding table in model.safetensors only ${encoder.vocabSize} rows`,
        { file: tokenizerFile, help: 'the tokenizer and the weights come from different models' },
      );
    }
    return { inside, tokenizer, encoder, weights, modules };
  } finally {
    await reader.close();
  }
}

/** Chooses pooling and normalisation: as asked for, else as in the folder, else the usual ones. */
function encoderSettings(
  own: UndriftJson | undefined,
  modules: ModuleList | undefined,
  options: LoadOptions,
): Pick<EncoderConfig, 'pooling' | 'normalize' | 'dimensions'> {
  let pooling = options.pooling ?? own?.pooling ?? modules?.pooling;
  if (!pooling) {
    pooling = 'mean';
    if (modules?.moduleClass !== 'StaticEmbedding') {
      options.onNote?.('the folder names no pooling: mean is assumed');
    }
  }
  const normalize = options.normalize ?? own?.normalize ?? modules?.normalize;
  if (normalize === undefined) {
    options.onNote?.('the folder names no similarity: cosine is assumed, so vectors are normalised');
  }
  const dimensions = options.dimensions ?? own?.dimensions ?? modules?.dimensions;
  return { pooling, normalize: normalize ?? true, ...(dimensions !== undefined && { dimensions }) };
}

/** Reads prompts and lengths of a folder by other programs. */
async function foreignSettings(
  folder: string,
  { inside, encoder, modules }: Tower,
  options: LoadOptions,
): Promise<Settings> {
  const { prompts = {}, maxTokens } = modules ?? {};
  const tokenizerConfig = await optionalJson(join(inside, 'tokenizer_config.json'));
  // Hugging Face writes 1e30 if there is no limit.
  const named = tokenizerConfig?.model_max_length;
  const said =
    maxTokens ?? (Number.isSafeInteger(named) && (named as number) > 0 ? (named as number) : undefined);
  const limit = encoder.maxTokens ?? said ?? DEFAULT_MAX_TOKENS;
  const most = Math.min(said ?? limit, limit, LONGEST_TOKENS);
  if (said === undefined && options.maxTokens === undefined) {
    options.onNote?.(`the folder names no maximum length: texts are cut at ${most} tokens`);
  }
  const known = {
    query: prompts.query ?? '',
    document: prompts.document ?? prompts.passage ?? prompts.corpus ?? '',
  };
  if (options.prompts?.query === undefined && known.query === '' && known.document === '') {
    const others = Object.keys(prompts).filter((name) => prompts[name] !== '');
    const { _name_or_path: name } = encoder.config.model;
    const note =
      others.length > 0
        ? `the folder has prompts for ${others.join(', ')}, and none that is for queries or documents: give one by ${option('queryPrompt')}`
        : await promptHint(folder, typeof name === 'string' ? [name] : []);
    if (note) tellNote(options.onNote, note);
  }
  return {
    towers: 'shared',
    prompts: known,
    maxTokens: { query: most, document: most },
    trainedSteps: 0,
  };
}

function readTokenizer(file: string): Tokenizer {
  if (!existsSync(file)) {
    throw new DataError('no such file', {
      file,
      help: "save the tokenizer with Hugging Face's fast tokenizers, which write this file (vocab.txt alone is not read)",
    });
  }
  return Tokenizer.fromFile(file);
}

/** Configuration of a StaticEmbedding: Undrift's own, or derived from the shape of the table. */
function bagConfig(
  config: Readonly<Record<string, unknown>> | undefined,
  reader: SafetensorsReader,
  file: string,
): EncoderConfig['model'] {
  const { modelType } = staticEmbedding;
  if (config?.model_type === modelType) return { ...config, model_type: modelType };
  const shape = storedShape(reader, 'embedding.weight', file);
  if (shape?.length !== 2) {
    throw new DataError("there is no matrix 'embedding.weight'", {
      file,
      help: 'modules.json says that the folder holds a StaticEmbedding',
    });
  }
  const other = ['mapping', 'weights'].find((name) => reader.tensors.has(name));
  if (other) {
    throw new DataError(`tensor '${other}' of a compressed model2vec table is not supported`, {
      file,
      help: 'save the model with sentence-transformers, which writes the table in full',
    });
  }
  return { model_type: modelType, vocab_size: shape[0]!, hidden_size: shape[1]! };
}

/** Reads the projection [D, hidden] in the folder of a Dense module. */
async function readDense(folder: string): Promise<HostTensor> {
  const name = 'linear.weight';
  const file = join(folder, 'model.safetensors');
  const reader = await openWeights(folder);
  try {
    const shape = reader.tensors.get(name)?.dims;
    if (shape?.length !== 2) throw new DataError(`there is no matrix '${name}'`, { file });
    const spec = { name, shape, init: { kind: 'constant', value: 0 }, decay: true } as const;
    return (await readWeights(reader, [spec], { file }))[name]!;
  } finally {
    await reader.close();
  }
}
