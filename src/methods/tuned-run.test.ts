import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ToyOptions, ToyRun } from '../../test/toy-training.ts';
import { readSafetensors } from '../io/safetensors.ts';
import type { TuningOptions } from '../models/retriever/tuning.ts';
import { float32, hostTensor } from '../runtime/host-tensor.ts';
import { NONE } from '../util/vector-rows.ts';
import { asyncIndex } from './async-index.ts';
import type { Method } from './contract/method.ts';
import { gradCache } from './grad-cache.ts';
import { inBatch } from './in-batch.ts';
import { momentumQueue } from './momentum-queue.ts';
import { negativeCache } from './negative-cache.ts';
import { TableMethod } from './table/table-method.ts';

// Runs that train only part of a model: adapters of frozen weights, or the weights that are not frozen.

const TUNINGS: Record<string, TuningOptions> = {
  adapters: { lora: 2, loraTargets: ['all-linear'] },
  'all but frozen parts': { freeze: ['embeddings', '*.attention.*'] },
};

const METHODS: [string, Method, ToyOptions['options']][] = [
  ['in-batch', inBatch, {}],
  ['grad-cache', gradCache, {}],
  ['negative-cache', negativeCache, { cacheSize: 40 }],
  ['momentum-queue', momentumQueue, { cacheSize: 40 }],
  ['async-index', asyncIndex, { refresh: 'async:3:wait' }],
];

const settingsOf = (tuning: TuningOptions, options: ToyOptions['options'] = {}): ToyOptions => ({
  model: { kind: 'transformer' },
  tuning,
  options,
});

const names = ({ context }: ToyRun, isFrozen: boolean) =>
  context.retriever.specs.filter(({ frozen = false }) => frozen === isFrozen).map(({ name }) => name);

describe.each(Object.entries(TUNINGS))('%s', (_, tuning) => {
  it.each(METHODS)(
    '%s: what is frozen stays to the bit; resumed is gone on, to the byte',
    async (_id, method, options) => {
      const settings = settingsOf(tuning, options);
      const whole = await ToyRun.begin(method, settings);
      const before = whole.bytes();
      await whole.train(4);
      const folder = await whole.save();
      await whole.train(3);
      const after = whole.bytes();
      for (const name of names(whole, true)) expect(after[name], name).toBe(before[name]);
      const changed = names(whole, false).filter((name) => after[name] !== before[name]);
      expect(changed).toEqual(names(whole, false));

      const { tensors } = await readSafetensors(join(folder, 'checkpoint', 'parameters.safetensors'));
      expect(Object.keys(tensors).sort()).toEqual(names(whole, false).sort());
      const state = await readSafetensors(join(folder, 'checkpoint', 'method.safetensors'));
      const ofWeights = Object.keys(state.tensors).filter((name) => name.includes('encoder/'));
      for (const name of names(whole, true))
        expect(
          ofWeights.some((key) => key.endsWith(name)),
          name,
        ).toBe(false);

      const parts = await ToyRun.resume(method, settings, folder);
      await parts.train(3);
      expect(parts.bytes()).toEqual(after);
      await whole.dispose();
      await parts.dispose();
    },
  );

  it('lowers the exact loss over the whole corpus', async () => {
    const run = await ToyRun.begin(inBatch, { ...settingsOf(tuning), learningRate: 0.03 });
    const before = await run.exactLoss();
    await run.train(60);
    expect(await run.exactLoss()).toBeLessThan(0.8 * before);
    await run.dispose();
  });

  it('refreshes beside training with the adapted weights of the step at which the refresh began', async () => {
    const run = await ToyRun.begin(asyncIndex, settingsOf(tuning, { refresh: 'async:3:wait' }));
    await run.train(3);
    const { retriever, documents, compute } = run.context;
    const weights = Object.fromEntries(
      Object.entries(retriever.trainedWeights('document')).map(([name, { dims, data }]) => [
        name,
        hostTensor('f32', dims, data.slice()),
      ]),
    );
    await run.train(3);
    const { table } = run.running as TableMethod;
    expect(run.running).toBeInstanceOf(TableMethod);
    const slots = [...table.documents.keys()].filter(
      (slot) => table.documents[slot] !== NONE && table.versions[slot] === 3,
    );
    expect(slots.length).toBeGreaterThan(10);
    const all = await retriever.encodeTokens('document', documents, { ...compute, weights });
    const now = await retriever.encodeTokens('document', documents, compute);
    expect(now).not.toEqual(all);
    const D = table.dimension;
    const cached = float32(table.block(0, table.rows));
    for (const slot of slots) {
      const document = table.documents[slot]!;
      expect(cached.slice(slot * D, (slot + 1) * D)).toEqual(all.slice(document * D, (document + 1) * D));
    }
    await run.dispose();
  });
});

describe('grad-cache gives the weights of in-batch', () => {
  it.each<[string, TuningOptions, 'shared' | 'separate']>([
    ['with adapters', { lora: 2 }, 'shared'],
    ['with adapters in one of two towers', { lora: 2, freeze: ['document'] }, 'separate'],
    ['with one of two towers frozen', { freeze: ['document'] }, 'separate'],
  ])('%s', async (_, tuning, towers) => {
    const runs: ToyRun[] = [];
    for (const method of [inBatch, gradCache]) {
      const run = await ToyRun.begin(method, { model: { kind: 'transformer', towers }, tuning });
      await run.train(3);
      runs.push(run);
    }
    const [plain, cached] = runs.map(({ context }) => context.weights);
    for (const [name, tensor] of Object.entries(plain!)) {
      const [a, b] = [float32(tensor), float32(cached![name])];
      for (let i = 0; i < a.length; i++) expect(b[i], name).toBeCloseTo(a[i]!, 4);
    }
    for (const run of runs) await run.dispose();
  });
});
