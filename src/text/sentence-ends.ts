import type { Tokenizer } from './tokenizer.ts';
import { modelIds } from './tokenizer-json.ts';

/**
 * Marks the tokens that end a sentence: those that end in `.`, `!` or `?`.
 *
 * The rule is rough, since abbreviations and numbers end in a dot too. It is enough to cut texts at natural
 * places without reading them again.
 *
 * @returns  uint8[V], 1 for a token that ends a sentence
 */
export function sentenceEnds(tokenizer: Tokenizer): Uint8Array {
  const ends = new Uint8Array(tokenizer.vocabSize);
  for (const [token, id] of modelIds(tokenizer.toJson().model)) if (/[.!?]$/.test(token)) ends[id] = 1;
  return ends;
}
