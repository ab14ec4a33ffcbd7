import type { TextDocument } from '../data/text-corpus.ts';
import { type TokenCorpus, tokenizeCorpus } from '../data/token-corpus.ts';
import { TextPieces } from '../text/text-pieces.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { wordContinuations } from '../text/word-continuations.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkWhole } from './check-number.ts';

/**
 * Tokenises documents and cuts them into pieces that do not overlap, each before a word, for a model that reads a piece at once.
 *
 * @param options.window  tokens of a piece at most, special tokens included
 * @param options.maxTokens  longest sequence that the model reads; undefined if there is no limit
 * @throws UsageError for a window that the model does not read, and where the documents have no token
 * @throws UndriftError that names a document which cannot be tokenised
 */
export async function documentPieces(
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  tokenizer: Tokenizer,
  { window, maxTokens }: { readonly window: number; readonly maxTokens: number | undefined },
): Promise<{ corpus: TokenCorpus; pieces: TextPieces }> {
  checkWhole('window', window, tokenizer.wrapperTokens + 1);
  if (maxTokens !== undefined && window > maxTokens) {
    throw new UsageError(`${option('window', window)}: the model reads ${maxTokens} tokens`, {
      help: `use ${option('window', maxTokens)} or less`,
    });
  }
  const corpus = await tokenizeCorpus(documents, tokenizer);
  if (corpus.tokens.totalTokens === 0) throw new UsageError('the documents have no tokens to find');
  const most = window - tokenizer.wrapperTokens;
  return { corpus, pieces: new TextPieces(corpus.tokens, { most, continues: wordContinuations(tokenizer) }) };
}
