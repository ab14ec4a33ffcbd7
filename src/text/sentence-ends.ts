import type { Tokenizer } from './tokenizer.ts';
import { modelIds } from './tokenizer-json.ts';

/**
 * Which tokens end a sentence: those of the vocabulary that end in `.`, `!` or `?`. Rough (abbreviations and numbers end none), and
 * enough to cut texts at natural places without reading them again.
 *
 * @returns  uint8[V], 1 for such a token
 */
export function sentenceEnds(tokenizer: Tokenizer): Uint8Array {
  const ends = new Uint8Array(tokenizer.vocabSize);
  for (const [token, id] of modelIds(tokenizer.toJson().model)) if (/[.!?]$/.test(token)) ends[id] = 1;
  return ends;
}
