import { expect, test } from 'vitest';
import { embeddings, smallRetriever } from '../../../test/small-models.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { createRetriever, type NewRetrieverOptions } from './create-retriever.ts';

const { tokenizer } = smallRetriever({ kind: 'static' });

test('defaults', () => {
  const bag = createRetriever({ kind: 'static', tokenizer });
  expect(bag.config).toEqual({
    encoder: {
      model: { model_type: 'undrift-static', vocab_size: tokenizer.vocabSize, hidden_size: 256 },
      pooling: 'mean',
      normalize: true,
    },
    towers: 'shared',
    prompts: { query: '', document: '' },
    maxTokens: { query: 32, document: 256 },
  });
  const bert = createRetriever({ kind: 'transformer', tokenizer });
  expect(bert.config.maxTokens).toEqual({ query: 32, document: 128 });
  expect(bert.config.encoder.model).toMatchObject({
    num_hidden_layers: 2,
    hidden_size: 256,
    num_attention_heads: 8,
    intermediate_size: 1024,
    max_position_embeddings: 128,
    hidden_dropout_prob: 0,
  });
});

test.each([
  [384, 12],
  [768, 12],
  [64, 2],
  [16, 1],
  [480, 15],
])('a hidden size of %i has %i heads', (hidden, heads) => {
  const { model } = createRetriever({ kind: 'transformer', tokenizer, hidden, layers: 1, maxDocTokens: 40 })
    .config.encoder;
  expect(model.num_attention_heads).toBe(heads);
});

test('the seed decides the weights', async () => {
  const make = (seed: number) => createRetriever({ kind: 'transformer', tokenizer, hidden: 32, seed });
  const [a, b, c] = [make(1), make(1), make(2)];
  const [x, y, z] = await Promise.all([a, b, c].map(embeddings));
  expect(x).toEqual(y);
  expect(x).not.toEqual(z);
  await Promise.all([a, b, c].map((retriever) => retriever.dispose()));
});

const bare = Tokenizer.fromJson({ ...tokenizer.toJson(), post_processor: null });

test.each<[Partial<NewRetrieverOptions>, RegExp]>([
  [{ kind: 'lstm' as 'static' }, /unknown kind of model "lstm"/],
  [{ hidden: 0 }, /hidden must be a whole number ≥ 1, found 0/],
  [{ maxDocTokens: 2.5 }, /maxDocTokens must be/],
  [{ maxQueryTokens: 2 }, /queries of 2 tokens have no room for text beside 2 special tokens/],
  [{ hidden: 100 }, /a hidden size of 100 is no multiple of 32/],
  [{ hidden: 96, heads: 5 }, /a hidden size of 96 cannot be shared by 5 heads/],
  [{ dropout: 1 }, /dropout must be in \[0, 1\)/],
  [{ layers: -1 }, /layers must be/],
  [{ vocabSize: 8 }, /the tokenizer has 120 tokens but the embedding table only 8 rows/],
  [{ pooling: 'cls', tokenizer: bare }, /cls pooling takes a text's first special token/],
  [{ kind: 'static', heads: 2 }, /a static encoder has no heads/],
  [{ kind: 'static', dropout: 0.1 }, /a static encoder has no dropout/],
  [{ kind: 'static', pooling: 'cls' }, /cls pooling of a static encoder/],
  [{ kind: 'static', projectionSize: 0 }, /projectionSize must be/],
])('refuses %j', (options, message) => {
  const make = () => createRetriever({ kind: 'transformer', tokenizer, ...options });
  expect(make).toThrow(UsageError);
  expect(make).toThrow(message);
});
