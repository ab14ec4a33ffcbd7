import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { readEventLog } from './event-log.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const line = (i: number) =>
  JSON.stringify({ query: `ask${i % 50}y ask${i % 7}y`, positive: `doc${i}x doc${i % 7}x` });
const pairs = (from: number, to: number) =>
  `${Array.from({ length: to - from }, (_, i) => line(from + i)).join('\n')}\n`;
const folder = tempFiles({
  'split/train.jsonl': pairs(0, 64),
  'split/dev.jsonl': pairs(64, 80),
  'split/test.jsonl': pairs(80, 96),
});
const base = join(folder, 'base');

const options = (out: string, more: Partial<TrainOptions>): TrainOptions & { threads: number } => ({
  data: join(folder, 'split'),
  out: join(folder, out),
  batchSize: 16,
  evalSplit: 'none',
  threads: 1,
  ...more,
});

beforeAll(async () => {
  await trainRetriever(options('base', { model: 'static', hidden: 16, vocabSize: 200, epochs: 1 }));
});

const weights = (run: string) => readFile(join(run, 'model', 'model.safetensors'));

it.each(['linear', 'cosine', 'constant'] as const)(
  'trains in a run of one step with %s',
  async (schedule) => {
    const { steps, model } = await trainRetriever(
      options(`one-${schedule}`, { model: base, steps: 1, schedule, lr: 0.01 }),
    );
    expect(steps).toBe(1);
    expect((await weights(join(model, '..'))).equals(await weights(base))).toBe(false);
  },
);

it('gives the last update a rate above 0', async () => {
  for (const [schedule, ratios] of [
    ['linear', [1, 1 / 3]],
    ['cosine', [1, 0.25]],
  ] as const) {
    const out = join(folder, `three-${schedule}`);
    await trainRetriever(
      options(`three-${schedule}`, { model: base, steps: 3, schedule, lr: 0.01, warmup: 0 }),
    );
    const logged = (await readEventLog(join(out, 'metrics.jsonl'))).filter(({ kind }) => kind === 'train');
    expect(logged.map(({ step }) => step)).toEqual([1, 3]);
    for (const [i, ratio] of ratios.entries())
      expect(logged[i]!.values.learningRate).toBeCloseTo(0.01 * ratio, 12);
  }
});

it.each([
  // 64 pairs are four batches of 16.
  { epochs: 1, accumulate: 8, updates: [4] },
  { epochs: 1, accumulate: 4, updates: [4] },
  { epochs: 1, accumulate: 3, updates: [3, 1] },
  { epochs: 3, accumulate: 8, updates: [8, 4] },
  { epochs: 0.5, accumulate: 1, updates: [1, 1] },
])('trains exactly $epochs epochs with --accumulate $accumulate', async ({ epochs, accumulate, updates }) => {
  const out = `epochs-${epochs}-${accumulate}`;
  const notes: string[] = [];
  const spent: number[] = [];
  const ends: number[] = [];
  await trainRetriever(options(out, { model: base, epochs, accumulate, lr: 0.01 }), {
    onNote: (note) => notes.push(note),
    onStep: (report) => {
      spent.push(report.spent.queryEncodes! / 16);
      ends.push(report.epoch);
    },
  });
  expect(spent).toEqual(updates);
  expect(ends.at(-1)).toBe(epochs);
  expect(notes.join('\n')).toContain(`${updates.length} steps of ${16 * updates[0]!} queries`);
});

it('averages the last batches as it averages a full update', async () => {
  const short = await trainRetriever(
    options('averaged-8', { model: base, epochs: 1, accumulate: 8, lr: 0.01 }),
  );
  const exact = await trainRetriever(
    options('averaged-4', { model: base, epochs: 1, accumulate: 4, lr: 0.01 }),
  );
  expect((await weights(join(short.model, '..'))).equals(await weights(join(exact.model, '..')))).toBe(true);
});
