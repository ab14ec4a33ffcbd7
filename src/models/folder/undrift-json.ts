import { POOLINGS, type Pooling } from '../../nn/layers.ts';
import { DataError } from '../../util/errors.ts';
import { optionalJson } from '../../util/json-objects.ts';
import { configFields } from '../architectures/config-fields.ts';
import type { Side } from '../retriever/retriever.ts';

/**
 * Name of the file that marks a model folder of Undrift. It holds what the formats of other programs have no
 * place for.
 */
export const UNDRIFT_JSON = 'undrift.json';

const FORMAT = 1;

/**
 * Largest maximum length accepted. More is a typing error or damage, and memory is reserved for texts of this
 * length.
 */
export const LONGEST_TOKENS = 1_000_000;

/** Content of `undrift.json`. */
export interface UndriftJson {
  towers: 'shared' | 'separate';
  /** Side of the tower, in the folder of one tower of a separate pair. */
  tower?: Side;
  pooling: Pooling;
  normalize: boolean;
  projectionSize?: number;
  /** Leading dimensions of the vectors to keep; absent for all. */
  dimensions?: number;
  prompts: Readonly<Record<Side, string>>;
  maxTokens: Readonly<Record<Side, number>>;
  /** Id of the embedding space; in the folder of a tower, that of the pair. */
  embeddingSpace: string;
  /** Number of updates that the weights have had. */
  trainedSteps: number;
}

/** Makes the JSON value of the file, with its format number. */
export const undriftJson = (content: UndriftJson): unknown => ({ format: FORMAT, ...content });

/**
 * Reads and checks the file; undefined if there is none.
 *
 * @throws DataError that names the field when one is invalid
 */
export async function readUndriftJson(file: string): Promise<UndriftJson | undefined> {
  const json = await optionalJson(file);
  if (!json) return undefined;
  const f = configFields(json, file);
  const format = f.count('format');
  if (format > FORMAT) {
    throw new DataError(`the folder has format ${format}, this version of Undrift reads ${FORMAT}`, {
      file,
      help: 'update Undrift',
    });
  }
  const { trainedSteps, embeddingSpace, tower, projectionSize, dimensions } = json;
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
  if (typeof embeddingSpace !== 'string') throw new DataError('"embeddingSpace" must be a text', { file });
  return {
    towers: f.oneOf('towers', ['shared', 'separate']),
    ...(tower !== undefined && { tower: f.oneOf('tower', ['query', 'document']) }),
    pooling: f.oneOf('pooling', POOLINGS),
    normalize: f.flag('normalize'),
    ...(projectionSize !== undefined && { projectionSize: f.count('projectionSize') }),
    ...(dimensions !== undefined && { dimensions: f.count('dimensions') }),
    prompts: sides('prompts', (value): value is string => typeof value === 'string', 'a text'),
    maxTokens: sides(
      'maxTokens',
      (value): value is number =>
        Number.isInteger(value) && (value as number) > 0 && (value as number) <= LONGEST_TOKENS,
      `an integer from 1 to ${LONGEST_TOKENS}`,
    ),
    embeddingSpace,
    trainedSteps: trainedSteps as number,
  };
}
