import { createHash } from 'node:crypto';
import { bytesOf } from '../../onnx/dtypes.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { ByteDigest } from '../../util/byte-digest.ts';
import { canonicalJson, tokenizerKey } from '../retriever/embedding-space.ts';
import type { LanguageModel } from './language-model.ts';

/** Number of hexadecimal digits of an id. */
const DIGITS = 16;

/**
 * Computes an id of what a language model computes: the first 16 hexadecimal digits of
 *
 *     SHA-256(config, tokenizer, every weight with its name and shape)
 *
 * Models of equal ids give equal log-probabilities. Time: about a second for each gigabyte of weights.
 */
export function languageModelId({
  decoder,
  tokenizer,
  weights,
}: Pick<LanguageModel, 'decoder' | 'tokenizer' | 'weights'>): string {
  const digest = new ByteDigest();
  const add = (text: string) => digest.add(Buffer.from(`${text}\n`));
  add(canonicalJson(decoder.config));
  add(tokenizerKey(tokenizer.toJson()));
  for (const name of Object.keys(weights).sort()) {
    const { dtype, dims, data } = weights[name]!;
    add(`${name} ${dtype}[${dims}]`);
    digest.add(bytesOf(data));
  }
  return digest.digest().slice(0, DIGITS);
}

/** Computes the id of a tokenizer: the first 16 hexadecimal digits of SHA-256 of what decides on its ids. */
export const tokenizerId = (tokenizer: Tokenizer): string =>
  createHash('sha256').update(tokenizerKey(tokenizer.toJson())).digest('hex').slice(0, DIGITS);
