import { existsSync } from 'node:fs';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { checkFormat } from '../util/check-format.ts';
import { DataError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { isObject, type Json, objectIn } from '../util/json-objects.ts';

const FORMAT = 1;

/** Settings of a model that decide on a vector besides its weights and its tokenizer, by name. */
export type VectorSettings = Readonly<Record<string, string | number | boolean>>;

/** Facts about a corrector that has moved vectors to another space. */
export interface AppliedCorrector {
  /** Kind of corrector, such as `ridge`. */
  readonly kind: string;
  /** Embedding space in which the vectors were made. */
  readonly fromSpace: string;
  /** Embedding space to which they were moved. */
  readonly toSpace: string;
}

/** Description of stored vectors: content of the file `NAME.npy.json` beside `NAME.npy`, apart from the format number. */
export interface VectorManifest {
  /** Id of the vectors' embedding space (see `embeddingSpaceId`). */
  readonly embeddingSpace: string;
  /** Side as which the texts were encoded. */
  readonly side: Side;
  /** Element type. */
  readonly dtype: 'f32';
  /** Number of vectors. */
  readonly rows: number;
  /** Embedding size D. */
  readonly dimension: number;
  /** Settings of the model. The embedding space covers them; here they can be read. */
  readonly settings: VectorSettings;
  /** Digest of the texts, in the order of the rows. */
  readonly texts: string;
  /** Digest of the ids, in the order of the rows; null for texts without ids. */
  readonly ids: string | null;
  /** SHA-256 of the numbers in the .npy file. */
  readonly sha256: string;
  /** Corrector that has moved the vectors to this space; null for vectors as the model made them. */
  readonly corrector: AppliedCorrector | null;
}

/** Name of the manifest of a file of vectors. */
export const manifestFile = (file: string): string => `${file}.json`;

/** Part of a manifest that is a function of the model. */
export function modelFacts(
  retriever: Retriever,
): Pick<VectorManifest, 'embeddingSpace' | 'dimension' | 'settings'> {
  const { encoder, towers, prompts, maxTokens, encodeDtype } = retriever.config;
  return {
    embeddingSpace: embeddingSpaceId(retriever),
    dimension: retriever.dimension,
    settings: {
      pooling: encoder.pooling,
      normalize: encoder.normalize,
      towers,
      queryPrompt: prompts.query,
      docPrompt: prompts.document,
      maxQueryTokens: maxTokens.query,
      maxDocTokens: maxTokens.document,
      ...(encodeDtype && { encodeDtype }),
    },
  };
}

/** Formats a manifest as the content of its file. */
export const manifestText = (manifest: VectorManifest): string =>
  `${JSON.stringify({ format: FORMAT, ...manifest }, null, 2)}\n`;

/**
 * Reads the manifest of a file of vectors; undefined if there is none.
 *
 * @throws DataError if the manifest is damaged, or of a later format
 */
export async function readManifest(file: string): Promise<VectorManifest | undefined> {
  const path = manifestFile(file);
  return existsSync(path) ? parseManifest(objectIn(await readJson(path), path), path) : undefined;
}

function parseManifest(json: Json, file: string): VectorManifest {
  const fail = (name: string, expected: string, found: unknown): never => {
    throw new DataError(`"${name}" must be ${expected}, found ${JSON.stringify(found)?.slice(0, 80)}`, {
      file,
      help: 'the manifest is damaged: write the vectors again with undrift encode',
    });
  };
  const text = (of: Json, name: string, pattern = /./): string => {
    const value = of[name];
    return typeof value === 'string' && pattern.test(value)
      ? value
      : fail(name, `a text like ${pattern}`, value);
  };
  const count = (name: string): number => {
    const value = json[name];
    return Number.isSafeInteger(value) && (value as number) > 0
      ? (value as number)
      : fail(name, 'a positive integer', value);
  };
  checkFormat('the manifest', count('format'), { reads: FORMAT, file });
  const { settings, corrector, ids } = json;
  const isSetting = (value: unknown) => ['string', 'number', 'boolean'].includes(typeof value);
  if (!isObject(settings) || !Object.values(settings).every(isSetting)) {
    return fail('settings', 'an object of texts, numbers and switches', settings);
  }
  if (corrector !== null && !isObject(corrector)) {
    return fail('corrector', 'an object or null', corrector);
  }
  return {
    embeddingSpace: text(json, 'embeddingSpace'),
    side: text(json, 'side', /^(query|document)$/) as Side,
    dtype: text(json, 'dtype', /^f32$/) as 'f32',
    rows: count('rows'),
    dimension: count('dimension'),
    settings: settings as VectorSettings,
    texts: text(json, 'texts'),
    ids: ids === null ? null : text(json, 'ids'),
    sha256: text(json, 'sha256', /^[0-9a-f]{64}$/),
    corrector:
      corrector === null
        ? null
        : {
            kind: text(corrector, 'kind'),
            fromSpace: text(corrector, 'fromSpace'),
            toSpace: text(corrector, 'toSpace'),
          },
  };
}
