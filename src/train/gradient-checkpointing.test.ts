import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { trainCrossEncoder } from './cross-encoder/train-cross-encoder.ts';
import type { TrainOptions } from './options.ts';
import { trainRetriever } from './train-retriever.ts';

const folder = tempFiles();
const WORDS = ['arc', 'tangent', 'file', 'whole', 'reads', 'opens', 'encoding', 'path'];
const record = (i: number) => ({
  query: `${WORDS[i % 8]} ${WORDS[(3 * i + 1) % 8]} ${i}`,
  positive: `${WORDS[(3 * i + 1) % 8]} of ${WORDS[i % 8]} and ${i}`,
});
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
const SHARED = {
  data: { pairs: range(0, 24), dev: range(24, 32) },
  ...{ steps: 4, batchSize: 4, evalEvery: 2, threads: 1, dropout: 0.1 },
};
const TINY = { ...SHARED, model: 'transformer', hidden: 8, layers: 2, vocabSize: 80 } as const;

const bytes = (out: string) => readFileSync(join(folder, out, 'model', 'model.safetensors'));

it.each<Partial<TrainOptions>>([
  { method: 'in-batch' },
  { method: 'grad-cache', chunkSize: 2 },
  { method: 'negative-cache', diagnose: 2 },
])('%o: a run with evaluations ends with the same bytes', async (options) => {
  const train = (name: string, gradientCheckpointing: boolean) =>
    trainRetriever({ ...TINY, ...options, out: join(folder, name), gradientCheckpointing });
  const { method } = options;
  await train(`${method}-kept`, false);
  const { settings } = await train(`${method}-recomputed`, true);
  expect(settings).not.toHaveProperty('gradientCheckpointing');
  expect(bytes(`${method}-recomputed`)).toEqual(bytes(`${method}-kept`));
});

it('a cross-encoder ends with the same bytes', async () => {
  const model = join(folder, 'in-batch-kept');
  for (const gradientCheckpointing of [false, true]) {
    const out = join(folder, `pairs-${gradientCheckpointing}`);
    await trainCrossEncoder({ ...SHARED, model, out, negatives: 1, gradientCheckpointing });
  }
  expect(bytes('pairs-true')).toEqual(bytes('pairs-false'));
});
