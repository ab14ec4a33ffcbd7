import { afterEach, describe, expect, it } from 'vitest';
import { COPIES, rightAnswers, type ToyOptions, ToyRun } from '../../test/toy-training.ts';
import { ROWS_INPUT } from '../nn/parameters.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { takePrefix } from '../util/prefixes.ts';
import type { Method, TrainingBatch } from './contract/method.ts';
import { inBatch } from './in-batch.ts';
import { momentumQueue } from './momentum-queue.ts';

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});
async function begin(
  options: ToyOptions['options'],
  settings: ToyOptions = {},
  method: Method = momentumQueue,
) {
  const run = await ToyRun.begin(method, { ...settings, ...(options && { options }) });
  runs.push(run);
  return run;
}

/** The queue as it would be written to a checkpoint: documents of its filled slots, and their embeddings. */
function queueOf({ running, context }: ToyRun) {
  const state = takePrefix('queue/', running.state());
  const documents = Array.from(state.documents!.data, Number);
  const D = context.retriever.dimension;
  return {
    documents,
    filled: documents.filter((document) => document >= 0).length,
    embedding: (slot: number) => float32(state.embeddings).slice(slot * D, (slot + 1) * D),
  };
}

/** f32[documents, D], by the slow encoder as it is. */
const encodeSlowly = ({ running, context }: ToyRun, documents: Int32Array) =>
  context.retriever.encodeTokens('document', context.documents, {
    ...context.compute,
    rows: Uint32Array.from(documents),
    weights: structuredClone(takePrefix('slow/', running.state())),
  });

/**
 * The loss by its definition, in double precision: the batch's documents and the queue, without right answers; and the share of
 * queries whose positive scores best among these, and among all.
 */
async function expectedStep(
  run: ToyRun,
  batch: TrainingBatch,
  positives: 'momentum' | 'fresh',
): Promise<{ loss: number; accuracy: number; unmaskedAccuracy: number }> {
  const { retriever, queries, documents, compute, temperature } = run.context;
  const D = retriever.dimension;
  const q = await retriever.encodeTokens('query', queries, {
    ...compute,
    rows: Uint32Array.from(batch.queryRows),
  });
  const own =
    positives === 'momentum'
      ? await encodeSlowly(run, batch.positiveRows)
      : await retriever.encodeTokens('document', documents, {
          ...compute,
          rows: Uint32Array.from(batch.positiveRows),
        });
  const queue = queueOf(run);
  let [total, hits, unmaskedHits] = [0, 0, 0];
  for (const [b, queryRow] of batch.queryRows.entries()) {
    const score = (embedding: Float32Array) =>
      embedding.reduce((sum, x, i) => sum + x * q[b * D + i]!, 0) / temperature.value;
    const right = new Set(rightAnswers(queryRow));
    const positive = score(own.subarray(b * D, (b + 1) * D));
    const others: { score: number; counts: boolean }[] = [];
    for (const [j, document] of batch.positiveRows.entries()) {
      const other = score(own.subarray(j * D, (j + 1) * D));
      if (j !== b) others.push({ score: other, counts: !right.has(document) });
    }
    for (const [slot, document] of queue.documents.entries()) {
      if (document < 0) continue;
      const counts = !right.has(document) && !batch.positiveRows.includes(document);
      others.push({ score: score(queue.embedding(slot)), counts });
    }
    const counted = others.filter(({ counts }) => counts);
    total += Math.log(counted.reduce((sum, { score }) => sum + Math.exp(score - positive), 1));
    hits += Number(counted.every(({ score }) => score < positive));
    unmaskedHits += Number(others.every(({ score }) => score < positive));
  }
  const B = batch.queryRows.length;
  return { loss: total / B, accuracy: hits / B, unmaskedAccuracy: unmaskedHits / B };
}

describe.each(['fresh', 'momentum'] as const)('momentum-queue, %s positives', (positives) => {
  it('is the cross-entropy over the batch and the queue, right answers and empty rows left out (P1, P2, P3)', async () => {
    // 45 is no multiple of 8, and most of the 60 documents: batches come back to what the queue holds.
    const run = await begin({ cacheSize: 45, positives, momentum: 0.8 }, { learningRate: 0.03 });
    const filled: number[] = [];
    let misled = 0;
    for (let draw = 0; draw < 9; draw++) {
      const batch = run.batches.batch(draw);
      const { loss, accuracy, unmaskedAccuracy } = await expectedStep(run, batch, positives);
      const result = await run.running.step(batch, draw);
      expect(result.trainingLoss, `step ${draw + 1}`).toBeCloseTo(loss, 4);
      expect(result.metrics.accuracy, `step ${draw + 1}`).toBeCloseTo(accuracy, 6);
      misled += accuracy - unmaskedAccuracy;
      expect(result.interpretableLoss).toBe(result.trainingLoss);
      filled.push(queueOf(run).filled);
      await run.learner.apply(result.gradients, { learningRate: 0.03, weightDecay: 0, maxGradientNorm: 0 });
      await run.running.updated(draw + 1);
    }
    expect(filled).toEqual([0, 8, 16, 24, 32, 40, 45, 45, 45]);
    // Older embeddings of right answers sometimes score above those of the slow encoder; they do not count.
    if (positives === 'momentum') expect(misled).toBeGreaterThan(0);
  });

  it('masks copies of right answers, and documents of the batch', async () => {
    const run = await begin({ cacheSize: 60, positives });
    const batch = (queries: number[], documents = queries) => ({
      queryRows: Int32Array.from(queries),
      positiveRows: Int32Array.from(documents),
      negativeRows: new Int32Array(0),
    });
    const [copy, original] = [...COPIES][0]!;
    // Documents 58 (a copy of 0) and 50 (the second answer to query 2) are in the queue, as others' positives.
    await run.running.step(batch([10, 11, 12], [copy, 50, 12]), 0);
    await run.running.updated(1);
    const next = batch([original, 2, 12]);
    const { loss } = await expectedStep(run, next, positives);
    const result = await run.running.step(next, 1);
    expect(result.trainingLoss).toBeCloseTo(loss, 5);
    // Query 0 misses slot 0, query 2 slot 1, and all of them slot 2: 5 of 9.
    expect(result.metrics.maskedRatio).toBeCloseTo(5 / 9, 10);
  });

  it('fills the queue by the slow encoder, which follows the trained one (MoCo, algorithm 1)', async () => {
    const momentum = 0.75;
    const run = await begin({ cacheSize: 12, positives, momentum });
    const { context, running } = run;
    for (let step = 1; step <= 4; step++) {
      const batch = run.batches.batch(step - 1);
      const slowBefore = structuredClone(takePrefix('slow/', running.state()));
      const keys = await encodeSlowly(run, batch.positiveRows);
      await run.train(1);
      const D = context.retriever.dimension;
      const { documents, embedding, filled } = queueOf(run);
      expect(filled).toBe(Math.min(12, 8 * step));
      for (const [b, document] of batch.positiveRows.entries())
        expect(embedding(documents.indexOf(document))).toEqual(keys.slice(b * D, (b + 1) * D));
      for (const [name, slow] of Object.entries(takePrefix('slow/', running.state()))) {
        const [before, trained] = [float32(slowBefore[name]), float32(context.weights[name])];
        const expected = before.map((value, i) => momentum * value + (1 - momentum) * trained[i]!);
        const largest = expected.reduce(
          (most, x, i) => Math.max(most, Math.abs(x - Number(slow.data[i]))),
          0,
        );
        expect(largest, name).toBeLessThan(1e-6);
        expect(float32(slow)).not.toEqual(trained);
      }
    }
  });

  it('takes in the keys of all accumulated batches once, after the update (U12)', async () => {
    const run = await begin({ cacheSize: 40, positives }, { accumulate: 2 });
    const [first, second] = [run.batches.batch(0), run.batches.batch(1)];
    const losses = [
      (await expectedStep(run, first, positives)).loss,
      (await expectedStep(run, second, positives)).loss,
    ];
    const [report] = await run.train(1);
    expect(report!.trainingLoss).toBeCloseTo((losses[0]! + losses[1]!) / 2, 5);
    const keys = [...first.positiveRows, ...second.positiveRows];
    expect(queueOf(run).documents.slice(0, 16)).toEqual(keys);
    expect(queueOf(run).filled).toBe(16);
    await run.train(1);
    expect(queueOf(run).documents.slice(0, 16), 'kept from update to update').toEqual(keys);
    expect(queueOf(run).filled).toBe(32);
  });

  it('evicts the oldest row first (fifo)', async () => {
    const run = await begin({ cacheSize: 16, positives });
    const seen: number[] = [];
    for (let step = 0; step < 5; step++) {
      seen.push(...run.batches.batch(step).positiveRows);
      await run.train(1);
      expect(new Set(queueOf(run).documents.filter((row) => row >= 0))).toEqual(new Set(seen.slice(-16)));
    }
  });

  it('halves the memory of the queue with f16, and trains as well', async () => {
    const [whole, half] = [
      await begin({ positives, cacheSize: 40 }),
      await begin({ positives, cacheSize: 40, cacheStorage: 'f16' }),
    ];
    const losses = [await whole.train(8), await half.train(8)].map((reports) =>
      reports.map(({ trainingLoss }) => trainingLoss),
    );
    expect(losses[1]![0]).toBe(losses[0]![0]);
    expect(losses[1]![7]).not.toBe(losses[0]![7]);
    expect(losses[1]![7]).toBeCloseTo(losses[0]![7]!, 2);
    const bytes = (run: ToyRun) => run.spent().cacheBytes!;
    expect(bytes(whole) - bytes(half)).toBe(40 * whole.context.retriever.dimension * 2);
  });
});

describe('momentum-queue', () => {
  const weightsOf = async (method: Method, settings: ToyOptions) => {
    const run = await begin(undefined, settings, method);
    const reports = await run.train(1);
    return { reports, weights: structuredClone(run.context.weights) };
  };

  it.each([
    ['a fixed temperature', { initial: 0.05 }],
    ['another', { initial: 1 }],
    ['a learned temperature', { initial: 0.05, learned: true }],
  ])('with an empty queue takes the step of in-batch, with %s (U11)', async (_, temperature) => {
    const settings = { temperature, model: { towers: 'separate' } } as const;
    const [queue, batch] = [await weightsOf(momentumQueue, settings), await weightsOf(inBatch, settings)];
    expect(queue.reports[0]!.trainingLoss).toBe(batch.reports[0]!.trainingLoss);
    expect(queue.weights).toEqual(batch.weights);
  });

  it('with momentum positives has the same loss, but no gradient to documents', async () => {
    const settings = { model: { kind: 'static' } } as const;
    const run = await begin({ positives: 'momentum' }, settings);
    const plain = await begin(undefined, settings, inBatch);
    const batch = run.batches.batch(0);
    const [constant, both] = [await run.running.step(batch, 0), await plain.running.step(batch, 0)];
    expect(constant.trainingLoss).toBeCloseTo(both.trainingLoss, 5);
    // Only rows of tokens of queries have gradients at all.
    expect(constant.gradients.rows[ROWS_INPUT]!.data.length).toBeLessThan(
      both.gradients.rows[ROWS_INPUT]!.data.length,
    );
  });

  it('refuses momentum positives where no gradient would reach the document encoder', async () => {
    await expect(begin({ positives: 'momentum' }, { model: { towers: 'separate' } })).rejects.toThrow(
      /no gradient.*\n.*positives: 'fresh'/,
    );
    await expect(begin({ momentum: 1 })).rejects.toThrow(/at least 0 and below 1/);
  });

  it('says how far the slow encoder and the queue are behind', async () => {
    const run = await begin({ cacheSize: 0, momentum: 0.9 }, { learningRate: 0.03 });
    const reports = await run.train(14);
    expect(reports[0]!.metrics.slowEncoderDistance).toBeLessThan(1e-6);
    expect(reports[0]!.metrics.staleness).toBeUndefined();
    const { slowEncoderDistance, staleness } = reports[13]!.metrics;
    expect(slowEncoderDistance).toBeGreaterThan(1e-4);
    expect(staleness).toBeGreaterThan(slowEncoderDistance!);
    expect(run.running.inspect().filledRatio).toBeCloseTo(48 / 60, 10);
    const batch = run.batches.batch(0);
    const found = await run.running.diagnose!(batch);
    expect(found.rows).toBe(48);
    expect(found.staleness).toBeGreaterThan(0);
    expect(run.spent()).toMatchObject({
      positiveEncodes: 14 * 8,
      refreshEncodes: 14 * 8,
      queryEncodes: 14 * 8,
    });
  });
});
