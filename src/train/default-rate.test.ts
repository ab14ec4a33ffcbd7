import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { InterruptedError } from './callbacks.ts';
import { readRunSettings } from './run-folder.ts';
import { resolveSettings, type TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const line = (i: number) =>
  JSON.stringify({ query: `ask${i}y ask${i % 7}y`, positive: `doc${i}x doc${i % 7}x` });
const folder = tempFiles({ 'pairs.jsonl': `${Array.from({ length: 60 }, (_, i) => line(i)).join('\n')}\n` });
const run = (name: string): string => join(folder, name);
const options = (out: string, more: Partial<TrainOptions>): TrainOptions & { threads: number } => ({
  data: join(folder, 'pairs.jsonl'),
  out: run(out),
  batchSize: 8,
  steps: 4,
  evalSplit: 'none',
  threads: 1,
  ...more,
});
const fresh = { hidden: 8, vocabSize: 100 };

beforeAll(async () => {
  await trainRetriever(options('static', { ...fresh, model: 'static' }));
  await trainRetriever(options('transformer', { ...fresh, model: 'transformer', layers: 1, heads: 2 }));
});

it.each([
  ['static', {}, 0.01],
  ['transformer', {}, 5e-5],
  ['transformer', { lora: 2 }, 5e-4],
  ['static', { lr: 0.003 }, 0.003],
  ['transformer', { lr: 0.003 }, 0.003],
] as const)('a given %s model with %o has the learning rate %d', async (kind, more, rate) => {
  const out = `${kind} ${JSON.stringify(more)}`.replaceAll(/[^a-z0-9]+/g, '-');
  const rates: number[] = [];
  const { settings } = await trainRetriever(
    options(out, { model: run(kind), schedule: 'constant', warmup: 0, ...more }),
    { onStep: ({ learningRate }) => rates.push(learningRate) },
  );
  expect(settings.lr).toBe(rate);
  expect((await readRunSettings(run(out))).lr).toBe(rate);
  expect(rates).toEqual([rate, rate, rate, rate]);
});

it('does not guess the kind of a given model before it is loaded', () => {
  const given = { data: 'd', out: 'o' };
  expect(resolveSettings({ ...given, model: 'somewhere' }).lr).toBeNull();
  expect(resolveSettings({ ...given, model: 'static' }).lr).toBe(0.01);
  expect(resolveSettings({ ...given, model: 'transformer' }).lr).toBe(5e-4);
});

it('resumes with the default rate, and refuses another one', async () => {
  const stopped = async (out: string, more: Partial<TrainOptions>) => {
    const stop = new AbortController();
    const training = trainRetriever(options(out, { model: run('static'), ...more }), {
      signal: stop.signal,
      onStep: ({ step }) => step === 2 && stop.abort(),
    });
    await expect(training).rejects.toThrow(InterruptedError);
  };
  await stopped('by-default', {});
  const resumed = await trainRetriever({ ...options('by-default', { model: run('static') }), resume: true });
  expect(resumed.settings.lr).toBe(0.01);
  await stopped('by-number', { lr: 0.02 });
  await expect(
    trainRetriever({ ...options('by-number', { model: run('static') }), resume: true }),
  ).rejects.toThrow(/lr: 0\.02 then, 0\.01 now/);
});
