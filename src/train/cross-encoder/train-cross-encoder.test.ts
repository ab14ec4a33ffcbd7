import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import type { DataInMemory } from '../../data/data-in-memory.ts';
import { loadCrossEncoder } from '../../models/cross-encoder/load-cross-encoder.ts';
import { saveRetriever } from '../../models/folder/save-retriever.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from '../callbacks.ts';
import type { CrossEncoderTrainOptions } from './options.ts';
import { trainCrossEncoder } from './train-cross-encoder.ts';

const folder = tempFiles();
const BERT = join(folder, 'bert');
const CROSS = fileURLToPath(new URL('../../models/cross-encoder/fixtures/bert', import.meta.url));

beforeAll(async () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  await saveRetriever(BERT, retriever, { onnx: false });
  await retriever.dispose();
});

const WORDS = ['arc', 'tangent', 'file', 'whole', 'reads', 'opens', 'encoding', 'the', 'path', 'number'];
/** Queries of two words; the right document repeats both, many others one of them. */
function toy(options: { scores?: boolean; negatives?: boolean } = {}): DataInMemory {
  const record = (i: number) => {
    const [a, b, c, d] = permutation(rngKey(5, i, 'words'), WORDS.length);
    const [x, y, z, w] = [a, b, c, d].map((each) => WORDS[each!]!);
    return {
      query: `${x} ${y} ${i}`,
      positive: `${y} ${x} of ${i}`,
      ...(options.negatives !== false && { negative: [`${x} ${z} of ${i + 1}`, `${z} ${w} of ${i + 2}`] }),
      ...(options.scores && { scores: [2, 0.5, -1] }),
    };
  };
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
  return { pairs: range(0, 40), dev: range(40, 52) };
}

const small = (out: string, more: Partial<CrossEncoderTrainOptions> = {}): CrossEncoderTrainOptions => ({
  data: toy(),
  out: join(folder, out),
  model: BERT,
  steps: 12,
  batchSize: 4,
  negatives: 2,
  lr: 1e-3,
  maxTokens: 20,
  rerankDepth: 5,
  evalEvery: 6,
  threads: 1,
  ...more,
});

describe.each([
  ['bce', {}, 'sigmoid', true],
  ['softmax', {}, 'identity', false],
  ['mse', { scores: true }, 'identity', false],
  ['margin-mse', { scores: true }, 'identity', false],
  ['kl', { scores: true }, 'identity', true],
  ['marginal-likelihood', { scores: true }, 'identity', false],
] as const)('loss %s', (loss, data, activation, resumed) => {
  test(`falls${resumed ? ', and a run that is stopped and resumed gives the same bytes' : ''}`, async () => {
    const losses: number[] = [];
    const options = { loss, data: toy(data), dropout: 0.1 };
    const whole = await trainCrossEncoder(small(`${loss}-whole`, { ...options, steps: 16 }), {
      onStep: ({ trainingLoss }) => losses.push(trainingLoss),
    });
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(losses.slice(-4))).toBeLessThan(mean(losses.slice(0, 4)));
    expect(whole.ledger).toMatchObject({ pairs: 16 * 12, trainingPairs: 16 * 12 });
    expect(whole.best.value).toBeGreaterThan(0);
    expect(whole.baseline?.name).toBe('BM25');

    const trained = await loadCrossEncoder(join(folder, `${loss}-whole`));
    expect(trained.config).toMatchObject({ activation, maxTokens: 20 });
    expect(trained.trainedSteps).toBe(whole.best.step);
    await trained.dispose();
    if (resumed) await stopAndResume(small(`${loss}-stopped`, { ...options, steps: 16 }), whole.model);
  });
});

/** Stops a run after a few steps, resumes it, and compares it with a whole run. */
async function stopAndResume(options: CrossEncoderTrainOptions, model: string): Promise<void> {
  const controller = new AbortController();
  const interrupt: TrainCallbacks = {
    signal: controller.signal,
    onStep: ({ step }) => step === 7 && controller.abort(),
  };
  await expect(trainCrossEncoder(options, interrupt)).rejects.toBeInstanceOf(InterruptedError);
  await trainCrossEncoder({ ...options, resume: true });
  for (const file of [
    'model/model.safetensors',
    'checkpoint/parameters.safetensors',
    'checkpoint/state.json',
  ]) {
    const [a, b] = [join(model, '..'), options.out].map((run) => readFileSync(join(run, file)));
    expect(a!.equals(b!), file).toBe(true);
  }
}

test('learns to tell right documents from others, better than BM25 ranks them', async () => {
  const result = await trainCrossEncoder(
    small('learn', { steps: 60, evalEvery: 60, loss: 'softmax', lr: 3e-3 }),
  );
  const trained = await loadCrossEncoder(join(folder, 'learn'));
  const { pairs } = toy() as { pairs: { query: string; positive: string; negative: string[] }[] };
  let right = 0;
  for (const { query, positive, negative } of pairs) {
    const [best] = await trained.rank(query, [...negative, positive], { threads: 1 });
    if (best!.document === negative.length) right += 1;
  }
  await trained.dispose();
  expect(right / pairs.length).toBeGreaterThan(0.8);
  expect(result.settings).toMatchObject({ loss: 'softmax', negativesFrom: 'data', evalMetric: 'ndcg@10' });
});

test.each([
  ['bm25', /2 negatives that BM25 ranks high/],
  ['random', /2 negatives drawn at random/],
] as const)('negatives from %s', async (negativesFrom, message) => {
  const notes: string[] = [];
  const data = toy({ negatives: false });
  const result = await trainCrossEncoder(small(negativesFrom, { data, negativesFrom, steps: 4 }), {
    onNote: (note) => notes.push(note),
  });
  expect(notes.join('\n')).toMatch(message);
  expect(result.ledger.pairs).toBe(4 * 12);
});

test('goes on from a cross-encoder, keeping its activation where the loss fits either', async () => {
  const notes: string[] = [];
  await trainCrossEncoder(small('on', { model: CROSS, loss: 'softmax', steps: 2 }), {
    onNote: (note) => notes.push(note),
  });
  expect(notes.join()).not.toMatch(/new one/);
  const trained = await loadCrossEncoder(join(folder, 'on'));
  expect(trained.config.activation).toBe('sigmoid');
  await trained.dispose();
});

test('pairs with a score each', async () => {
  const scoredPairs = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => {
      const words = [...permutation(rngKey(6, from + i, 'words'), WORDS.length)].map((each) => WORDS[each]!);
      const second = words.slice(3, 6);
      return {
        sentence1: words.slice(0, 3).join(' '),
        sentence2: second.join(' '),
        score: second.includes('file') || second.includes('path') ? 1 : 0,
      };
    });
  const data: DataInMemory = { scoredPairs: scoredPairs(0, 60), dev: scoredPairs(60, 80) };
  const result = await trainCrossEncoder(small('scored', { data, steps: 60, evalEvery: 20, lr: 3e-3 }));
  expect(result.settings).toMatchObject({ loss: 'mse', negativesFrom: null, evalMetric: 'spearman' });
  expect(result.best.value).toBeGreaterThan(0.3);
  await expect(trainCrossEncoder(small('scored-softmax', { data, loss: 'softmax' }))).rejects.toThrow(
    /softmax.* compares documents of one query/,
  );
});

test.each<[string, Partial<CrossEncoderTrainOptions>, RegExp]>([
  ['a new model', { model: 'static' }, /starts from a model that is trained already/],
  ['an unknown loss', { loss: 'triplet' }, /has no loss "triplet"/],
  ['an option of retrievers', { pooling: 'mean' } as never, /the method cross-encoder takes no pooling/],
  ['no negatives', { negatives: 0 }, /needs negatives/],
  ['a loss of scores without scores', { loss: 'mse' }, /no teacher's scores/],
  [
    'a loss of scores with other negatives',
    { loss: 'kl', negativesFrom: 'bm25' },
    /follows the scores of the data/,
  ],
  [
    'negatives of data without any',
    { negativesFrom: 'data', data: toy({ negatives: false }) },
    /the data has no negatives/,
  ],
  ['an absent split', { evalSplit: 'other' }, /no split "other"/],
  ['a metric of scored pairs', { evalMetric: 'spearman' }, /spearman/],
])('refuses %s', async (_, more, message) => {
  await expect(trainCrossEncoder(small('refused', more))).rejects.toThrow(message);
});
