import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { recoverFolder } from '../../util/files.ts';
import { isObject, optionalJson } from '../../util/json-objects.ts';
import { option, tellNote } from '../../util/option-name.ts';
import type { EncoderWeights } from '../architectures/architecture.ts';
import { canonicalJson, embeddingSpaceId, tokenizerKey } from '../retriever/embedding-space.ts';
import { Retriever, type Side } from '../retriever/retriever.ts';
import type { LoadOptions } from './load-options.ts';
import { promptHint } from './prompt-hint.ts';
import { readTower, type Tower } from './read-tower.ts';
import { lengthOf } from './transformer-settings.ts';
import {
  LONGEST_TOKENS,
  readUndriftJson,
  UNDRIFT_JSON,
  type UndriftJson,
  verifyWeights,
} from './undrift-json.ts';

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
  const { pooling, normalize, projectionSize, dimensions, towers, encodeDtype } = options;
  const { prompts = {}, maxTokens = {} } = options;
  const differs = <T extends object>(asked: { [K in keyof T]?: T[K] | undefined }, said: T) =>
    (Object.keys(asked) as (keyof T)[]).some((key) => asked[key] !== undefined && asked[key] !== said[key]);
  return (
    differs({ pooling, normalize, projectionSize, dimensions, towers }, own) ||
    differs({ encodeDtype }, { encodeDtype: own.encodeDtype ?? 'f32' }) ||
    differs(prompts, own.prompts) ||
    differs(maxTokens, own.maxTokens)
  );
}

/** Settings of a folder apart from tokenizer, configuration and weights. */
type Settings = Pick<UndriftJson, 'towers' | 'prompts' | 'maxTokens' | 'encodeDtype' | 'trainedSteps'>;

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
  { prompts, maxTokens, encodeDtype = settings.encodeDtype ?? 'f32', seed }: LoadOptions,
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
      encodeDtype,
    },
    tokenizer,
    { weights, trainedSteps, ...(seed !== undefined && { seed }) },
  );
}

/** Reads prompts and lengths of a folder by other programs. */
async function foreignSettings(folder: string, tower: Tower, options: LoadOptions): Promise<Settings> {
  const { prompts = {} } = tower.modules ?? {};
  const maxTokens = await foreignLengths(tower, options);
  const known = {
    query: prompts.query ?? '',
    document: prompts.document ?? prompts.passage ?? prompts.corpus ?? '',
  };
  if (options.prompts?.query === undefined && known.query === '' && known.document === '') {
    const others = Object.keys(prompts).filter((name) => prompts[name] !== '');
    const { _name_or_path: name } = tower.encoder.config.model;
    const note =
      others.length > 0
        ? `the folder has prompts for ${others.join(', ')}, and none that is for queries or documents: give one by ${option('queryPrompt')}`
        : await promptHint(folder, typeof name === 'string' ? [name] : []);
    if (note) tellNote(options.onNote, note);
  }
  return { towers: 'shared', prompts: known, maxTokens, trainedSteps: 0 };
}

/** Reads the longest text of each side, in tokens, where Python reads it. */
async function foreignLengths(tower: Tower, options: LoadOptions): Promise<Record<Side, number>> {
  const { inside, encoder, tokenizer, modules } = tower;
  if (encoder.moduleClass === 'StaticEmbedding') {
    const { truncation } = tokenizer.toJson() as { truncation?: unknown };
    const file = join(inside, 'tokenizer.json');
    const cut = isObject(truncation) ? lengthOf(truncation.max_length, 'max_length', file) : undefined;
    const most = Math.min(modules?.maxTokens ?? cut ?? LONGEST_TOKENS, LONGEST_TOKENS);
    return { query: most, document: most };
  }
  const configFile = join(inside, 'tokenizer_config.json');
  const config = await optionalJson(configFile);
  const usual = lengthOf(config?.model_max_length, 'model_max_length', configFile);
  const limit = Math.min(encoder.maxTokens ?? DEFAULT_MAX_TOKENS, LONGEST_TOKENS);
  const named = (side: Side) => modules?.transformer?.maxTokens[side] ?? usual;
  const most = (side: Side) =>
    Math.min(named(side) ?? limit, encoder.maxTokens ?? LONGEST_TOKENS, LONGEST_TOKENS);
  if (named('document') === undefined && options.maxTokens === undefined) {
    options.onNote?.(`the folder names no maximum length: texts are cut at ${most('document')} tokens`);
  }
  return { query: most('query'), document: most('document') };
}
