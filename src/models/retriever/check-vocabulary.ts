import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';

/**
 * Checks that an embedding table has a row for each token.
 *
 * @param rows number of rows of the table
 * @throws UsageError if the tokenizer has more tokens
 */
export function checkVocabulary({ vocabSize }: Tokenizer, rows: number): void {
  if (vocabSize <= rows) return;
  throw new UsageError(`the tokenizer has ${vocabSize} tokens but the embedding table only ${rows} rows`, {
    help: 'the tokenizer and the weights come from different models',
  });
}
