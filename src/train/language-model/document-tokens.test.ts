import { expect, it } from 'vitest';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { documentTokens } from './make-language-model.ts';

const make = (model: 'bpe' | 'wordpiece', purpose: 'encoder' | 'decoder') =>
  Tokenizer.fromJson(trainVocabulary(['some words, some more words'], { model, purpose, vocabSize: 300 }));

it('documents begin and end with the tokens of the tokenizer, and end where the model stops', () => {
  const decoder = make('bpe', 'decoder');
  expect(documentTokens({ tokenizer: decoder, endIds: new Set([0]) })).toEqual({ start: 0, end: 0 });
  // A model for chats ends its answers with another token than its texts.
  expect(documentTokens({ tokenizer: decoder, endIds: new Set([7]) })).toEqual({ start: 0, end: 7 });
  expect(documentTokens({ tokenizer: decoder, endIds: new Set([7, 0]) })).toEqual({ start: 0, end: 0 });
  expect(documentTokens({ tokenizer: decoder, endIds: new Set() })).toEqual({ start: 0, end: 0 });
  // RoBERTa's tokens around texts, <s> and </s>.
  expect(documentTokens({ tokenizer: make('bpe', 'encoder'), endIds: new Set() })).toEqual({
    start: 0,
    end: 2,
  });
});
