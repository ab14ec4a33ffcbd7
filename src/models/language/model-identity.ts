import { createHash } from 'node:crypto';
import { bytesOf } from '../../onnx/dtypes.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { canonicalJson, tokenizerKey } from '../retriever/embedding-space.ts';
import type { LanguageModel } from './language-model.ts';

/** Number of hexadecimal digits of an id. */
const DIGITS = 16;

/**
 * Computes the id of a language model: the first 16 hexadecimal digits of SHA-256(configuration, every weight with its name and shape).
 * Models of one id give tokens equal states. Dropout is not part of the id.
 */
export function languageModelId({ decoder, weights }: LanguageModel): string {
  const hash = createHash('sha256').update(canonicalJson(decoder.config)).update('\n');
  for (const name of Object.keys(weights).sort()) {
    const { dtype, dims, data } = weights[name]!;
    hash.update(`${name} ${dtype}[${dims}]\n`).update(bytesOf(data));
  }
  return hash.digest('hex').slice(0, DIGITS);
}

/** Computes the id of a tokenizer: the first 16 hexadecimal digits of SHA-256 of what decides on its ids. */
export const tokenizerId = (tokenizer: Tokenizer): string =>
  createHash('sha256').update(tokenizerKey(tokenizer.toJson())).digest('hex').slice(0, DIGITS);
