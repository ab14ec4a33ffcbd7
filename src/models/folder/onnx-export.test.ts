import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { largestDifference, smallRetriever, TEXTS } from '../../../test/small-models.ts';
import { decodeModel } from '../../onnx/decode.ts';
import { padBatch } from '../../text/pad-batch.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { exportOnnx } from './onnx-export.ts';

const i64 = (values: ArrayLike<number | bigint>, dims: readonly number[]) =>
  new Tensor(
    'int64',
    BigInt64Array.from({ length: values.length }, (_, i) => BigInt(values[i]!)),
    [...dims],
  );

/** Runs an exported encoder on texts, as a program that knows nothing of us would. */
async function run(retriever: Retriever, side: Side, texts: readonly string[]) {
  const session = await InferenceSession.create(exportOnnx(retriever, side));
  const store = retriever.tokenize(side, texts.length, (row) => texts[row]!);
  const { ids, mask, batch, tokens } = padBatch(store, Object.keys(texts).map(Number), { padId: 0 });
  const dims = [batch, tokens];
  const feeds: Record<string, Tensor> = { input_ids: i64(ids, dims), attention_mask: i64(mask, dims) };
  if (session.inputNames.includes('token_type_ids'))
    feeds.token_type_ids = i64(
      ids.map(() => 0),
      dims,
    );
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

test.each([
  ['mean', { kind: 'transformer' }],
  ['cls, not normalised', { kind: 'transformer', pooling: 'cls', normalize: false }],
  ['last token', { kind: 'transformer', pooling: 'lasttoken' }],
  ['max', { kind: 'transformer', pooling: 'max' }],
  ['weighted mean', { kind: 'transformer', pooling: 'weightedmean' }],
  ['mean by root', { kind: 'transformer', pooling: 'mean_sqrt_len_tokens', normalize: false }],
  ['projection', { kind: 'transformer', projectionSize: 8 }],
  ['separate towers', { kind: 'transformer', towers: 'separate' }],
  ['static, folded', { kind: 'static' }],
  ['static, projected', { kind: 'static', projectionSize: 8 }],
  ['static with token weights', { kind: 'static', normalize: false }],
] as const)('the exported encoder gives the embeddings of encode: %s', async (_name, options) => {
  const retriever = smallRetriever(options);
  for (const side of ['query', 'document'] as const) {
    for (const texts of [TEXTS, TEXTS.slice(2, 3)]) {
      const { sentence_embedding: embedding, last_hidden_state: hidden } = await run(retriever, side, texts);
      const expected = await retriever.encode(side, texts);
      expect(embedding!.dims).toEqual([texts.length, retriever.dimension]);
      expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0.1);
      expect(largestDifference(embedding!.data as Float32Array, expected)).toBeLessThan(1e-5);
      if (options.kind === 'static') expect(hidden).toBeUndefined();
      else expect(hidden!.dims).toEqual([texts.length, expect.any(Number), 32]);
    }
  }
  await retriever.dispose();
});

test('the file has Hugging Face names and layout, and standard operators only', () => {
  const retriever = smallRetriever({ kind: 'transformer', projectionSize: 8 });
  retriever.trainedSteps = 12;
  const model = decodeModel(exportOnnx(retriever, 'query'));
  expect(model.opsets).toEqual({ '': 21 });
  expect(new Set(model.graph.nodes.map((node) => node.domain ?? ''))).toEqual(new Set(['']));
  expect(model.graph.inputs).toEqual(
    ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => ({
      name,
      dtype: 'i64',
      shape: ['batch', 'sequence'],
    })),
  );
  expect(model.graph.outputs).toEqual([
    { name: 'last_hidden_state', dtype: 'f32', shape: ['batch', 'sequence', 32] },
    { name: 'sentence_embedding', dtype: 'f32', shape: ['batch', 8] },
  ]);
  const names = new Set(model.graph.initializers.map(({ name }) => name));
  for (const { name } of retriever.encoder.specs) expect(names).toContain(name);
  expect(model.metadata).toEqual({
    'undrift.embedding_space': embeddingSpaceId(retriever),
    'undrift.trained_steps': '12',
  });
});

test('a static encoder gathers rows, without any tensor of size batch × vocabulary', () => {
  const { graph } = decodeModel(exportOnnx(smallRetriever({ kind: 'static' }), 'query'));
  const types = graph.nodes.map((node) => node.opType);
  expect(types).toContain('Gather');
  expect(types).not.toContain('ScatterElements');
  expect(graph.initializers.map(({ name }) => name)).toContain('embedding.weight');
  expect(graph.initializers.map(({ name }) => name)).not.toContain('token_logits.weight');
});
