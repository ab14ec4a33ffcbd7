import { join } from 'node:path';
import { checkFormat } from '../../util/check-format.ts';
import { optionalJson } from '../../util/json-objects.ts';
import { configFields } from '../architectures/config-fields.ts';
import { CROSS_ENCODER, checkDigests, UNDRIFT_JSON } from '../folder/undrift-json.ts';
import { SCORE_ACTIVATIONS, type ScoreActivation } from './cross-encoder.ts';

/** Format of the folder of a cross-encoder. Versions of Undrift that know no cross-encoders read formats up to 2. */
const FORMAT = 3;

/** Content of the `undrift.json` of a cross-encoder. */
export interface CrossEncoderJson {
  readonly activation: ScoreActivation;
  readonly maxTokens: number;
  readonly tokenTypes: boolean;
  readonly trainedSteps: number;
  /** SHA-256 of each file of weights, by its path in the folder. */
  readonly weights?: Readonly<Record<string, string>> | undefined;
}

/** Makes the JSON value of the file. */
export const crossEncoderJson = (content: CrossEncoderJson): Record<string, unknown> => ({
  format: FORMAT,
  kind: CROSS_ENCODER,
  ...content,
});

/**
 * Reads the `undrift.json` of a cross-encoder; undefined if there is no such file.
 *
 * @throws DataError for a retriever, for a newer format, and for a field that is damaged
 */
export async function readCrossEncoderJson(folder: string): Promise<CrossEncoderJson | undefined> {
  const file = join(folder, UNDRIFT_JSON);
  const json = await optionalJson(file);
  if (!json) return undefined;
  if (json.kind !== CROSS_ENCODER) return undefined;
  const f = configFields(json, file);
  checkFormat('the folder', f.count('format'), { reads: FORMAT, file });
  const { weights } = json;
  checkDigests(weights, file);
  return {
    activation: f.oneOf('activation', SCORE_ACTIVATIONS),
    maxTokens: f.count('maxTokens'),
    tokenTypes: f.flag('tokenTypes'),
    trainedSteps: f.index('trainedSteps'),
    ...(weights && { weights }),
  };
}
