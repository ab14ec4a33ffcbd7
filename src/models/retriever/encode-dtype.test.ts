import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { largestDifference, smallRetriever, TEXTS } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { Graph } from '../../graph/graph.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { OnnxFile } from '../../runtime/onnx-file.ts';
import { padBatch } from '../../text/pad-batch.ts';
import { loadRetriever, saveRetriever } from '../folder/model-folder.ts';
import { exportOnnx } from '../folder/onnx-export.ts';
import { embeddingSpaceId } from './embedding-space.ts';
import { Retriever } from './retriever.ts';
import { wholeEncoderFeeds } from './whole-encoder.ts';

const compute = { threads: 1 };

/** Returns the same model with another dtype of encoding. */
const encoding = (retriever: Retriever, encodeDtype: 'f32' | 'int8'): Retriever =>
  new Retriever({ ...retriever.config, encodeDtype }, retriever.tokenizer, { weights: retriever.weights });

describe('a retriever that encodes in int8', () => {
  it.each([
    ['mean', { kind: 'transformer' }],
    ['cls, projected', { kind: 'transformer', pooling: 'cls', projectionSize: 8 }],
    ['separate towers', { kind: 'transformer', towers: 'separate' }],
  ] as const)(
    'gives the vectors of the exported file, which are near those of f32: %s',
    async (_name, options) => {
      const retriever = smallRetriever(options);
      const int8 = encoding(retriever, 'int8');
      const D = retriever.dimension;
      for (const side of ['query', 'document'] as const) {
        const vectors = await int8.encode(side, TEXTS, compute);
        const file = await OnnxFile.open(exportOnnx(retriever, side, { dtype: 'int8', tokens: false }), {
          name: 'int8.onnx',
          ...compute,
        });
        const store = retriever.tokenize(side, TEXTS.length, (row) => TEXTS[row]!);
        const order = [...TEXTS.keys()].sort((a, b) => store.length(b) - store.length(a) || a - b);
        const batch = padBatch(store, order, { padId: retriever.padId });
        const feeds = wholeEncoderFeeds(batch, 0);
        const outputs = await file.run(Object.fromEntries(file.inputs.map((name) => [name, feeds[name]!()])));
        const expected = float32(outputs.sentence_embedding, 'sentence_embedding');
        const sorted = Float32Array.from(
          order.flatMap((row) => [...vectors.subarray(row * D, (row + 1) * D)]),
        );
        expect(largestDifference(sorted, expected)).toBeLessThan(1e-6);
        await file.dispose();

        const exact = await retriever.encode(side, TEXTS, compute);
        expect(largestDifference(vectors, exact)).toBeGreaterThan(1e-5);
        for (const row of TEXTS.keys()) {
          const [a, b] = [vectors, exact].map((all) => all.subarray(row * D, (row + 1) * D)) as [
            Float32Array,
            Float32Array,
          ];
          expect(a.reduce((sum, x, i) => sum + x * b[i]!, 0)).toBeGreaterThan(0.95);
        }
      }
      await int8.dispose();
      await retriever.dispose();
    },
  );

  it('has an embedding space of its own, and that of f32 stays as it was', () => {
    const retriever = smallRetriever({ kind: 'transformer' });
    expect(embeddingSpaceId(encoding(retriever, 'f32'))).toBe(embeddingSpaceId(retriever));
    expect(embeddingSpaceId(encoding(retriever, 'int8'))).not.toBe(embeddingSpaceId(retriever));
  });

  it('cannot be trained, and needs the CPU and its own weights', async () => {
    const int8 = encoding(smallRetriever({ kind: 'transformer' }), 'int8');
    expect(() => int8.declare(new Graph('train'))).toThrow(
      /encodes with int8 products.*\n {2}help: load the model with encodeDtype: 'f32'/s,
    );
    await expect(int8.encode('query', ['a'], { device: 'webgpu' })).rejects.toThrow('webgpu has no kernels');
    await expect(int8.encode('query', ['a'], { weights: int8.weights })).rejects.toThrow('its own weights');
  });

  it('is refused for a static encoder, and so is an unknown dtype', () => {
    expect(() => encoding(smallRetriever({ kind: 'static' }), 'int8')).toThrow('of a static encoder');
    const retriever = smallRetriever({ kind: 'transformer' });
    expect(() => encoding(retriever, 'int4' as 'int8')).toThrow('help: use f32 or int8');
  });
});

test('a saved model keeps its dtype of encoding, which can be changed when it is loaded', async () => {
  const folder = join(tempFiles({}), 'model');
  const retriever = smallRetriever({ kind: 'transformer' });
  const int8 = encoding(retriever, 'int8');
  const space = await saveRetriever(folder, int8);
  expect(existsSync(join(folder, 'onnx'))).toBe(false);
  const notes: string[] = [];
  const loaded = await loadRetriever(folder, { onNote: (note) => notes.push(note) });
  expect([loaded.encodeDtype, embeddingSpaceId(loaded), notes]).toEqual(['int8', space, []]);
  const exact = await loadRetriever(folder, { encodeDtype: 'f32', onNote: (note) => notes.push(note) });
  expect([exact.encodeDtype, embeddingSpaceId(exact), notes]).toEqual([
    'f32',
    embeddingSpaceId(retriever),
    [],
  ]);
  for (const each of [retriever, int8, loaded, exact]) await each.dispose();
});
