import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { type ToyOptions, ToyRun } from '../../../test/toy-training.ts';
import { saveRetriever } from '../../models/folder/model-folder.ts';
import type { Method, TrainingBatch } from '../contract/method.ts';
import { distill } from '../distill.ts';
import { gradCache } from '../grad-cache.ts';
import { inBatch } from '../in-batch.ts';
import { momentumQueue } from '../momentum-queue.ts';
import type { MethodOptions } from '../options.ts';
import { scoredPairs } from '../scored-pairs.ts';
import { batchLoss } from './batch-loss.ts';

/** A guide that knows the toy corpus: trained in-batch, and saved. */
let guide: string;
beforeAll(async () => {
  const run = await ToyRun.begin(inBatch, { learningRate: 0.03, seed: 7 });
  await run.train(40);
  guide = join(tempFiles({}), 'guide');
  await saveRetriever(guide, run.context.retriever, { onnx: false });
  await run.dispose();
});

const begin = (method: Method, options: Partial<MethodOptions>, settings: ToyOptions = {}) =>
  ToyRun.begin(method, { learningRate: 0.03, ...settings, options: resolved(options) });
/** The guide is made when the tests run. */
const resolved = (options: Partial<MethodOptions>): Partial<MethodOptions> =>
  options.loss === 'gist' ? { ...options, guide } : options;

const VARIANTS: [string, Method, Partial<MethodOptions>][] = [
  ['in-batch, symmetric', inBatch, { loss: 'symmetric' }],
  ['in-batch, triplet', inBatch, { loss: 'triplet', margin: 0.5 }],
  [
    'in-batch, triplet by Euclidean distance',
    inBatch,
    { loss: 'triplet', distance: 'euclidean', margin: 0.5 },
  ],
  ['in-batch, gist at two sizes', inBatch, { loss: 'gist', relativeMargin: 0.05, matryoshka: [8] }],
  ['momentum-queue at two sizes', momentumQueue, { cacheSize: 20, matryoshka: [8] }],
  ['distill, kl', distill, { loss: 'kl', teacherTemperature: 2 }],
  ['scored-pairs, cosent', scoredPairs, { loss: 'cosent' }],
  [
    'scored-pairs, cosine-similarity at two sizes',
    scoredPairs,
    { loss: 'cosine-similarity', matryoshka: [8] },
  ],
];

describe.each(VARIANTS)('%s', (_, method, options) => {
  it('lowers the exact loss over the whole corpus', async () => {
    const run = await begin(method, options);
    const before = await run.exactLoss();
    const reports = await run.train(60);
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(reports[0]!.trainingLoss);
    expect(await run.exactLoss()).toBeLessThan(0.75 * before);
    await run.dispose();
  });

  it('continues from a checkpoint to the same bytes', async () => {
    const towers = method === momentumQueue ? ('shared' as const) : ('separate' as const);
    const settings = { dropoutRatio: 0.1, accumulate: 2, model: { towers } };
    const whole = await begin(method, options, settings);
    await whole.train(2);
    const folder = await whole.save();
    await whole.train(3);
    const parts = await ToyRun.resume(
      method,
      { learningRate: 0.03, ...settings, options: resolved(options) },
      folder,
    );
    await parts.train(3);
    expect(parts.bytes()).toEqual(whole.bytes());
    expect(parts.spent()).toEqual(whole.spent());
    await whole.dispose();
    await parts.dispose();
  });
});

describe.each([
  ['symmetric', { loss: 'symmetric' }],
  ['triplet', { loss: 'triplet', margin: 0.5 }],
  ['gist', { loss: 'gist' }],
  ['at three sizes', { matryoshka: [8, 4], matryoshkaWeights: [0.5, 2] }],
] as [string, Partial<MethodOptions>][])('grad-cache, %s', (_, options) => {
  it('makes the steps of in-batch', async () => {
    const runs = [await begin(inBatch, options), await begin(gradCache, options)];
    const [plain, cached] = [await runs[0]!.train(3), await runs[1]!.train(3)];
    for (const [i, report] of plain.entries()) {
      expect(cached[i]!.trainingLoss).toBeCloseTo(report.trainingLoss, 4);
      expect(cached[i]!.interpretableLoss).toBeCloseTo(report.interpretableLoss, 4);
      expect(cached[i]!.gradientNorm / report.gradientNorm).toBeCloseTo(1, 3);
      expect(cached[i]!.metrics).toEqual(report.metrics);
    }
    for (const run of runs) await run.dispose();
  });
});

describe('matryoshka', () => {
  it('logs the loss of the full size, and trains the sum', async () => {
    const [plain, nested] = [await begin(inBatch, {}), await begin(inBatch, { matryoshka: [8] })];
    const [[one], [both]] = [await plain.train(1), await nested.train(1)];
    expect(both!.interpretableLoss).toBeCloseTo(one!.trainingLoss, 5);
    expect(both!.trainingLoss).toBeGreaterThan(1.5 * one!.trainingLoss);
    await plain.dispose();
    await nested.dispose();
  });

  it.each([
    [{ matryoshka: [32] }, /matryoshka: 32 is more than the 16 dimensions of the model/],
    [{ matryoshka: [8, 8] }, /matryoshka names 8 twice/],
    [{ matryoshka: [8, 4], matryoshkaWeights: [1] }, /1 matryoshkaWeights for 2 sizes/],
  ])('refuses %j', async (options, message) => {
    await expect(begin(inBatch, options)).rejects.toThrow(message);
  });
});

describe('gist', () => {
  let run: ToyRun;
  beforeAll(async () => {
    run = await begin(inBatch, { loss: 'gist' });
  });
  afterAll(() => run.dispose());

  it('embeds each text once at most, the same bits whichever batch asks first', async () => {
    const batch = (...rows: number[]): TrainingBatch => ({
      queryRows: Int32Array.from(rows),
      positiveRows: Int32Array.from(rows),
      negativeRows: new Int32Array(0),
    });
    const [a, b] = [await batchLoss(run.context), await batchLoss(run.context)];
    const before = run.spent().guideEncodes ?? 0;
    const inputs = await a.inputs(batch(40, 3), Int32Array.of(40, 3));
    const counted = run.spent().guideEncodes!;
    await a.inputs(batch(3, 40), Int32Array.of(3, 40));
    expect(counted).toBeGreaterThan(before);
    expect(run.spent().guideEncodes).toBe(counted);
    await b.inputs(batch(1, 2, 3), Int32Array.of(1, 2, 3));
    expect(await b.inputs(batch(40, 3), Int32Array.of(40, 3))).toEqual(inputs);
    await a.dispose();
    await b.dispose();
  });

  it('refuses to resume a run with another guide', async () => {
    const loss = await batchLoss(run.context);
    const state = { ...loss.state() };
    state['guide/space'] = {
      ...state['guide/space']!,
      data: Uint8Array.from(Buffer.from('0'.repeat(16))),
    } as never;
    expect(() => loss.restore(state)).toThrow(/the guide is not the one that the run was started with/);
    await loss.dispose();
  });

  it.each([
    [{ loss: 'gist' }, /loss: 'gist' needs a guide/],
    [{ guide: 'somewhere' }, /guide is for loss: 'gist', not for multiple-negatives/],
    [{ loss: 'triplet', relativeMargin: 0.1 }, /relativeMargin is for loss: 'gist'/],
    [{ loss: 'gist', guide: 'g', relativeMargin: 0.1, absoluteMargin: 0.1 }, /exclude each other/],
    [{ loss: 'gist', guide: 'no-such-folder' }, /guide no-such-folder: no such folder/],
  ] as [Partial<MethodOptions>, RegExp][])('refuses %j', async (options, message) => {
    await expect(ToyRun.begin(inBatch, { options })).rejects.toThrow(message);
  });
});

describe('triplet', () => {
  it('takes the negatives that the data gives for each query, where the batch has some', async () => {
    const run = await begin(inBatch, { loss: 'triplet' });
    const loss = await batchLoss(run.context);
    const batch = { queryRows: Int32Array.of(4, 5), positiveRows: Int32Array.of(4, 5) };
    const own = await loss.inputs(
      { ...batch, negativeRows: Int32Array.of(20, 21, 22), ownNegatives: Int32Array.of(20, 21, 22, -1) },
      Int32Array.of(4, 5, 20, 21, 22),
    );
    expect([...own.negatives!.data]).toEqual([0, 0, 1, 1, 0, 0, 0, 0, 0, 1]);
    const all = await loss.inputs({ ...batch, negativeRows: new Int32Array(0) }, Int32Array.of(4, 5));
    expect([...all.negatives!.data]).toEqual([0, 1, 1, 0]);
    await loss.dispose();
    await run.dispose();
  });
});
