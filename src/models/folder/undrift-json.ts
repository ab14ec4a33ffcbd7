import { join } from 'node:path';
import { type DenseActivation, type DenseLayer, denseActivations } from '../../nn/dense.ts';
import { POOLINGS, type Pooling } from '../../nn/layers.ts';
import { digestOfFile } from '../../util/byte-digest.ts';
import { checkFormat } from '../../util/check-format.ts';
import { DataError } from '../../util/errors.ts';
import { isObject, objectIn, optionalJson } from '../../util/json-objects.ts';
import { option } from '../../util/option-name.ts';
import { configFields } from '../architectures/config-fields.ts';
import { ENCODE_DTYPES, type EncodeDtype } from '../retriever/encode-dtype.ts';
import type { Side } from '../retriever/retriever.ts';

/**
 * Name of the file that marks a model folder of Undrift. It holds what the formats of other programs have no
 * place for.
 */
export const UNDRIFT_JSON = 'undrift.json';

/** Newest format of the folder. Format 3 has `encodeDtype`, format 2 has `dense` and `includePrompt`; folders without them are of format 1. */
const FORMAT = 3;

/**
 * Largest maximum length accepted. More is a typing error or damage, and memory is reserved for texts of this
 * length.
 */
export const LONGEST_TOKENS = 1_000_000;

/** Value of `kind` in the `undrift.json` of a cross-encoder. */
export const CROSS_ENCODER = 'cross-encoder';

/** Value of `kind` in the `undrift.json` of a language model. */
export const LANGUAGE_MODEL = 'language-model';

/** Value of `kind` in the `undrift.json` of a sequence-to-sequence model. */
export const SEQUENCE_TO_SEQUENCE = 'sequence-to-sequence';

/** Value of `kind` in the `undrift.json` of a masked language model. */
export const MASKED_LANGUAGE_MODEL = 'masked-language-model';

/** Kinds of models that predict tokens. A retriever can be made of each of them. */
const TOKEN_MODELS: readonly unknown[] = [LANGUAGE_MODEL, SEQUENCE_TO_SEQUENCE, MASKED_LANGUAGE_MODEL];

/** Content of `undrift.json`. */
export interface UndriftJson {
  towers: 'shared' | 'separate';
  /** Side of the tower, in the folder of one tower of a separate pair. */
  tower?: Side;
  pooling: Pooling;
  normalize: boolean;
  /** Outputs of a single dense layer without bias and activation function. */
  projectionSize?: number;
  /** Other dense layers. */
  dense?: readonly DenseLayer[];
  /** `false`: pooling leaves out the prompt. */
  includePrompt?: false;
  /** Leading dimensions of the vectors to keep; absent for all. */
  dimensions?: number;
  prompts: Readonly<Record<Side, string>>;
  maxTokens: Readonly<Record<Side, number>>;
  /** Dtype in which texts are encoded; absent for f32. */
  encodeDtype?: EncodeDtype;
  /** Id of the embedding space; in the folder of a tower, that of the pair. */
  embeddingSpace: string;
  /** Number of updates that the weights have had. */
  trainedSteps: number;
  /** SHA-256 of each file of weights, by its path in the folder. Absent in folders of early versions. */
  weights?: Readonly<Record<string, string>>;
}

/** Makes the JSON value of the file, with its format number. */
export const undriftJson = (content: UndriftJson): unknown => ({
  format: content.encodeDtype ? 3 : content.dense || content.includePrompt === false ? 2 : 1,
  ...content,
});

/**
 * Reads and checks the file of a retriever; undefined if there is none, or if it marks a model that predicts tokens.
 *
 * @throws DataError that names the field when one is invalid
 */
export async function readUndriftJson(file: string): Promise<UndriftJson | undefined> {
  const json = await optionalJson(file);
  if (!json) return undefined;
  if (json.kind === CROSS_ENCODER) {
    throw new DataError('this is a cross-encoder, which scores pairs of texts and gives no vectors', {
      file,
      help: `a retriever is needed here; a cross-encoder is for ${option('rerank')}, ${option('teacher')} and ${option('checkWith')}`,
    });
  }
  // A retriever is made of a language model or an encoder as of any model of transformers.
  if (TOKEN_MODELS.includes(json.kind)) return undefined;
  const f = configFields(json, file);
  checkFormat('the folder', f.count('format'), { reads: FORMAT, file });
  const { trainedSteps, embeddingSpace, tower, projectionSize, dense, dimensions, includePrompt, weights } =
    json;
  const encodeDtype = json.encodeDtype === undefined ? 'f32' : f.oneOf('encodeDtype', ENCODE_DTYPES);
  const sides = <T>(name: string, is: (value: unknown) => value is T, expected: string): Record<Side, T> => {
    const value = json[name] as Record<string, unknown> | null | undefined;
    const { query, document } = value ?? {};
    if (!is(query) || !is(document)) {
      throw new DataError(`"${name}" must hold ${expected} for "query" and "document"`, { file });
    }
    return { query, document };
  };
  if (!Number.isSafeInteger(trainedSteps) || (trainedSteps as number) < 0) {
    throw new DataError(`"trainedSteps" must be a whole number, found ${JSON.stringify(trainedSteps)}`, {
      file,
    });
  }
  checkDigests(weights, file);
  if (typeof embeddingSpace !== 'string') throw new DataError('"embeddingSpace" must be a text', { file });
  return {
    towers: f.oneOf('towers', ['shared', 'separate']),
    ...(tower !== undefined && { tower: f.oneOf('tower', ['query', 'document']) }),
    pooling: f.oneOf('pooling', POOLINGS),
    normalize: f.flag('normalize'),
    ...(projectionSize !== undefined && { projectionSize: f.count('projectionSize') }),
    ...(dense !== undefined && { dense: denseLayers(dense, file) }),
    ...(includePrompt !== undefined && !f.flag('includePrompt') && { includePrompt: false as const }),
    ...(dimensions !== undefined && { dimensions: f.count('dimensions') }),
    ...(encodeDtype !== 'f32' && { encodeDtype }),
    prompts: sides('prompts', (value): value is string => typeof value === 'string', 'a text'),
    maxTokens: sides(
      'maxTokens',
      (value): value is number =>
        Number.isInteger(value) && (value as number) > 0 && (value as number) <= LONGEST_TOKENS,
      `an integer from 1 to ${LONGEST_TOKENS}`,
    ),
    embeddingSpace,
    trainedSteps: trainedSteps as number,
    ...(weights !== undefined && { weights }),
  };
}

/**
 * Checks the digests of weights: none, or SHA-256 by paths that do not lead out of the folder.
 *
 * @throws DataError for anything else
 */
export function checkDigests(
  weights: unknown,
  file: string,
): asserts weights is Readonly<Record<string, string>> | undefined {
  if (weights === undefined || isWeights(weights)) return;
  throw new DataError('"weights" must hold the SHA-256 of each file of weights', { file });
}

const isWeights = (value: unknown): value is Record<string, string> =>
  isObject(value) &&
  Object.entries(value).every(
    ([path, digest]) =>
      /^(\w+\/)*\w+\.safetensors$/.test(path) && typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest),
  );

/**
 * Checks the files of weights in a folder by the digests that were recorded when it was saved.
 *
 * @throws DataError that names the file which was damaged or replaced
 */
export async function verifyWeights(
  folder: string,
  { weights = {} }: Pick<UndriftJson, 'weights'>,
): Promise<void> {
  for (const [path, expected] of Object.entries(weights)) {
    const file = join(folder, path);
    const found = await digestOfFile(file);
    if (found === expected) continue;
    throw new DataError(
      `the weights are not those that were saved: their SHA-256 begins with ${found.slice(0, 12)}, ${UNDRIFT_JSON} says ${expected.slice(0, 12)}`,
      {
        file,
        help: `copy the folder again; if another program was to change the weights, delete ${UNDRIFT_JSON}, and the folder is read as that program left it`,
      },
    );
  }
}

/**
 * Checks the weights of a model that predicts tokens and that Undrift has saved. Any other folder passes.
 *
 * @throws DataError that names the file which was damaged or replaced
 */
export async function verifyLanguageModel(folder: string): Promise<void> {
  const file = join(folder, UNDRIFT_JSON);
  const { kind, weights } = (await optionalJson(file)) ?? {};
  if (!TOKEN_MODELS.includes(kind)) return;
  checkDigests(weights, file);
  await verifyWeights(folder, weights ? { weights } : {});
}

function denseLayers(value: unknown, file: string): DenseLayer[] {
  if (!Array.isArray(value)) throw new DataError('"dense" must be a list of layers', { file });
  return value.map((each) => {
    const json = objectIn(each, file);
    const f = configFields(json, file);
    const names = Object.keys(denseActivations) as DenseActivation[];
    return {
      size: f.count('size'),
      ...(f.flag('bias', false) && { bias: true }),
      ...(json.activation !== undefined && { activation: f.oneOf('activation', names) }),
      ...(f.flag('residual', false) && { residual: true }),
      ...(f.flag('normalizeInput', false) && { normalizeInput: true }),
    };
  });
}
