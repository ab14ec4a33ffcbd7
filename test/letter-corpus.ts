import { type TokenCorpus, tokenizeCorpus } from '../src/data/token-corpus.ts';
import type { Tokenizer } from '../src/text/tokenizer.ts';

/** Tokenises texts as documents `a`, `b`, `c`, … */
export const letterCorpus = (tokenizer: Tokenizer, texts: readonly string[]): Promise<TokenCorpus> =>
  tokenizeCorpus(
    texts.map((text, i) => ({ id: String.fromCharCode(97 + i), text })),
    tokenizer,
  );
