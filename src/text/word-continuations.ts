import type { Tokenizer } from './tokenizer.ts';
import { modelIds } from './tokenizer-json.ts';

/** Characters that mark the beginning of a word: those of byte-level BPE and of SentencePiece. */
const WORD_MARKS = ['Ġ', '▁'];

/**
 * Marks the tokens that continue a word, u8[V]: those with WordPiece's prefix, such as `##ing`. Where a vocabulary marks the beginnings of
 * words instead, they are the tokens that begin with a letter or a digit and have no mark. Where it marks neither, every token is a word.
 */
export function wordContinuations(tokenizer: Tokenizer): Uint8Array {
  const { model } = tokenizer.toJson();
  const ids = modelIds(model);
  const continues = new Uint8Array(tokenizer.vocabSize);
  const note = (isOne: (token: string) => boolean) => {
    for (const [token, id] of ids) if (isOne(token) && !tokenizer.specialTokens.has(token)) continues[id] = 1;
  };
  if (model.type === 'WordPiece') {
    const prefix = model.continuing_subword_prefix ?? '##';
    if (prefix !== '') note((token) => token !== prefix && token.startsWith(prefix));
    return continues;
  }
  const mark = WORD_MARKS.find((each) => [...ids.keys()].some((token) => token.startsWith(each)));
  if (mark !== undefined) note((token) => !token.startsWith(mark) && /^[\p{L}\p{N}]/u.test(token));
  return continues;
}
