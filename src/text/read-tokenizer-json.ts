import { readFileSync, statSync } from 'node:fs';
import { DataError } from '../util/errors.ts';
import { foreignFile } from '../util/foreign-file.ts';
import { parseShallowJson } from '../util/shallow-json.ts';
import { checkTokenizerJson, type TokenizerJson } from './tokenizer-json.ts';

/** Largest file that is read. Those of the largest well-known vocabularies, of a million pieces, have some 60 MB. */
const MOST_BYTES = 256 * 2 ** 20;

/**
 * Reads a `tokenizer.json` and checks it.
 *
 * @throws DataError when the file is missing, too large, damaged or of an unsupported kind
 */
export function readTokenizerJson(path: string): TokenizerJson {
  let bytes: Buffer;
  try {
    const { size } = statSync(path);
    if (size > MOST_BYTES) {
      throw new DataError(`${size} bytes are more than the ${MOST_BYTES} that a tokenizer may have`, {
        file: path,
      });
    }
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof DataError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DataError(`the tokenizer file cannot be read: ${reason}`, {
      file: path,
      help: 'name a tokenizer.json, or train a vocabulary of your own',
      cause: error,
    });
  }
  let value: unknown;
  try {
    value = parseShallowJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const foreign = foreignFile(bytes);
    throw new DataError(foreign ? `this is ${foreign.is}` : `not UTF-8 JSON: ${reason}`, {
      file: path,
      help: foreign?.help ?? 'the file is damaged or incomplete: copy or download it again',
      cause: error,
    });
  }
  return checkTokenizerJson(value, path);
}
