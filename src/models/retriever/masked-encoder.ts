import { tokensOutsidePhrases } from '../../text/shared-phrases.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { wordContinuations } from '../../text/word-continuations.ts';
import { UsageError } from '../../util/errors.ts';
import type { Encoder } from './encoder.ts';
import type { Retriever } from './retriever.ts';

/** Encoder of a masked language model, and what its tokenizer says about texts with masks. */
export interface MaskedEncoder {
  readonly encoder: Encoder;
  readonly tokenizer: Tokenizer;
  /** Prefix of the names of the encoder's weights among those of its model. */
  readonly prefix: string;
  /** Id of the token for a mask. */
  readonly mask: number;
  /** Tokens before and after each text. */
  readonly wrapper: Tokenizer['wrapper'];
  /** u8[V]: tokens that continue a word (see `wordContinuations`). */
  readonly continues: Uint8Array;
  /** Tokens that are in no phrase: the special ones and the unknown one. */
  readonly excluded: ReadonlySet<number>;
}

/**
 * Reads a model folder's encoder as that of a masked language model.
 *
 * @throws UsageError for a model with two towers, without a token for masks, or with dense layers after the pooling, which are for vectors of
 *   whole texts
 */
export function maskedEncoder({
  config,
  encoder,
  tokenizer,
}: Pick<Retriever, 'config' | 'encoder' | 'tokenizer'>): MaskedEncoder {
  const help = 'use a model with one encoder that was trained on masked tokens, such as BERT or RoBERTa';
  if (config.towers === 'separate') {
    throw new UsageError('the model has an encoder for queries and another one for documents', { help });
  }
  if ((encoder.config.dense ?? []).length > 0) {
    throw new UsageError(
      'the model has dense layers after its pooling, which vectors of tokens do not go through',
      {
        help,
      },
    );
  }
  const { mask } = tokenizer.specialIds;
  if (mask === undefined) {
    throw new UsageError('the vocabulary of the model has no token for a mask, such as [MASK]', { help });
  }
  return {
    ...{ encoder, tokenizer, mask },
    prefix: 'encoder/',
    wrapper: tokenizer.wrapper,
    continues: wordContinuations(tokenizer),
    excluded: tokensOutsidePhrases(tokenizer),
  };
}
