import { expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { createRetriever } from './create-retriever.ts';
import { embeddingSpaceId } from './embedding-space.ts';
import { Retriever } from './retriever.ts';

const base = { kind: 'transformer', projectionSize: 8, towers: 'separate' } as const;

test('equal retrievers have equal ids: sixteen hexadecimal digits', () => {
  const id = embeddingSpaceId(smallRetriever(base));
  expect(id).toMatch(/^[0-9a-f]{16}$/);
  expect(embeddingSpaceId(smallRetriever(base))).toBe(id);
});

test('every change that moves a vector changes the id', () => {
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(['a b ab ba'], { model: 'wordpiece', vocabSize: 120 }),
  );
  const nextWeight = (name: string) => {
    const retriever = smallRetriever(base);
    const data = retriever.weights[name]!.data as Float32Array;
    new Uint32Array(data.buffer, data.byteOffset)[3]! ^= 1;
    return retriever;
  };
  const retrievers = [
    smallRetriever(base),
    smallRetriever({ ...base, pooling: 'cls' }),
    smallRetriever({ ...base, normalize: false }),
    smallRetriever({ ...base, prompts: { query: ' ' } }),
    smallRetriever({ ...base, prompts: { document: ' ' } }),
    smallRetriever({ ...base, maxQueryTokens: 13 }),
    smallRetriever({ ...base, maxDocTokens: 19, maxQueryTokens: 20 }),
    smallRetriever({ ...base, heads: 4 }),
    smallRetriever({ ...base, projectionSize: 9 }),
    smallRetriever({ ...base, towers: 'shared' }),
    smallRetriever({ ...base, tokenizer, vocabSize: 120 }),
    nextWeight('query/encoder.layer.0.output.dense.bias'),
    nextWeight('document/projection.weight'),
  ];
  expect(new Set(retrievers.map(embeddingSpaceId)).size).toBe(retrievers.length);
});

test('changes that move no vector keep the id', () => {
  const retriever = smallRetriever(base);
  const { config, tokenizer, weights } = retriever;
  const model = { ...config.encoder.model, hidden_dropout_prob: 0.3 };
  const padded = { ...tokenizer.toJson(), truncation: { max_length: 3 }, padding: {}, version: '2.0' };
  const same = new Retriever(
    { ...config, encoder: { ...config.encoder, model } },
    Tokenizer.fromJson(padded),
    {
      weights,
      trainedSteps: 100,
    },
  );
  expect(embeddingSpaceId(same)).toBe(embeddingSpaceId(retriever));

  const distilled = (dropout: number) =>
    new Retriever(
      {
        ...config,
        encoder: {
          model: {
            model_type: 'distilbert',
            vocab_size: 120,
            dim: 4,
            n_layers: 1,
            n_heads: 2,
            max_position_embeddings: 20,
            dropout,
          },
          pooling: 'mean',
          normalize: true,
        },
      },
      tokenizer,
    );
  expect(embeddingSpaceId(distilled(0.1))).toBe(embeddingSpaceId(distilled(0)));
});

test('token weights of a static encoder count where they are not folded, and through the table where they are', () => {
  const ids = [true, false].flatMap((normalize) => {
    const retriever = createRetriever({
      kind: 'static',
      tokenizer: smallRetriever(base).tokenizer,
      hidden: 8,
      normalize,
    });
    const before = embeddingSpaceId(retriever);
    (retriever.weights['encoder/token_logits.weight']!.data as Float32Array)[7] = 2;
    return [before, embeddingSpaceId(retriever)];
  });
  expect(new Set(ids).size).toBe(4);
});
