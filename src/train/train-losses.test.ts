import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { loadScoredPairs } from '../data/scored-pairs.ts';
import { loadRetriever, saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { evaluateScoredPairs } from '../retrieval/evaluate-scored-pairs.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from './callbacks.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

/** Documents name three things in one language, queries the same three in another. */
const words = (i: number) => [...permutation(rngKey(5, i, 'words'), 40).subarray(0, 3)];
const query = (i: number) =>
  words(i)
    .map((w) => `ask${w}y`)
    .join(' ');
const document = (i: number) =>
  words(i)
    .map((w) => `doc${w}x`)
    .join(' ');
const ITEMS = 160;
const each = <T>(make: (i: number) => T): T[] => Array.from({ length: ITEMS }, (_, i) => make(i));
const lines = (records: readonly object[]) =>
  `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;
/** How many of their words two items have in common. */
const common = (i: number, j: number) => words(i).filter((w) => words(j).includes(w)).length;
const others = (i: number) => [7, 31, 64, 99].map((step) => (i + step) % ITEMS);

/** A teacher counts the words in common. */
const judged = each((i) => ({
  query: query(i),
  positive: document(i),
  negative: others(i).map(document),
  scores: [10, ...others(i).map((j) => 3 * common(i, j))],
}));
const scored = each((i) =>
  [i, ...others(i)].map((j) => ({ sentence1: query(i), sentence2: document(j), score: common(i, j) / 3 })),
).flat();

let data: string;
let runs: string;
beforeAll(async () => {
  data = tempFiles({
    'judged/train.jsonl': lines(judged.slice(0, 140)),
    'judged/dev.jsonl': lines(judged.slice(140)),
    'plain.jsonl': lines(judged.map(({ query, positive }) => ({ query, positive }))),
    'unscored.jsonl': lines(judged.map(({ scores: _, ...rest }) => rest)),
    'partly.jsonl': lines(judged.map(({ scores, ...rest }, i) => (i % 2 ? { ...rest, scores } : rest))),
    'pairs.jsonl': lines(scored),
    'ratings.jsonl': lines(scored.map((pair) => ({ ...pair, score: 5 * pair.score }))),
    'no-score.jsonl': lines([{ sentence1: 'a', sentence2: 'b' }]),
    'text-score.jsonl': lines([{ sentence1: 'a', sentence2: 'b', score: 'high' }]),
    'one-text.jsonl': lines([{ sentence1: 'a', score: 0.5 }]),
  });
  runs = await mkdtemp(join(tmpdir(), 'undrift-losses-'));
});
afterAll(() => rm(runs, { recursive: true, force: true }));

const small = (out: string, more: Partial<TrainOptions>): TrainOptions & { threads: number } => ({
  data: join(data, 'judged'),
  out: join(runs, out),
  batchSize: 16,
  steps: 60,
  hidden: 32,
  vocabSize: 200,
  evalEvery: 20,
  threads: 1,
  ...more,
});

/** Trains, and gives the losses of the steps, the metric at each evaluation, and the notes. */
async function train(options: ReturnType<typeof small>) {
  const losses: number[] = [];
  const values: number[] = [];
  const notes: string[] = [];
  const result = await trainRetriever(options, {
    onStep: ({ trainingLoss }) => losses.push(trainingLoss),
    onEvaluation: ({ metrics }) => values.push(metrics.spearman ?? metrics['ndcg@10']!),
    onNote: (note) => notes.push(note),
  });
  return { result, losses, values, notes };
}
const half = (list: readonly number[], last: boolean) => {
  const part = last ? list.slice(list.length / 2) : list.slice(0, list.length / 2);
  return part.reduce((a, b) => a + b, 0) / part.length;
};

describe('distill', () => {
  it.each(['MarginMSELoss', 'kl'])('learns from scores: %s', async (loss) => {
    const { result, losses, values } = await train(
      small(`distill-${loss}`, { method: 'distill', loss, steps: 120 }),
    );
    expect(half(losses, true)).toBeLessThan(0.7 * half(losses, false));
    expect(values.at(-1)).toBeGreaterThan(values[0]!);
    expect(result.settings.loss).toBe(loss === 'kl' ? 'kl' : 'margin-mse');
    expect(result.settings.negatives).toBe(4);
  });

  it('leaves out queries without scores, and says so', async () => {
    const options = { data: join(data, 'partly.jsonl'), method: 'distill', steps: 2 };
    const { notes } = await train(small('partly', options));
    expect(notes.join('\n')).toMatch(/left out \d\d queries without scores of a positive and a negative/);
  });

  it.each([
    [
      'plain.jsonl',
      {},
      /plain\.jsonl: there are no negatives to distil from\n {2}help: give each record a teacher's/,
    ],
    ['unscored.jsonl', {}, /unscored\.jsonl: there are no teacher's scores to distil from/],
    ['judged', { negatives: 0 }, /no negatives to compare with the positives\n {2}help: use negatives: 1/],
    [
      'judged',
      { loss: 'cosent' },
      /the method distill has no loss cosent\n {2}help: method: 'scored-pairs' has it/,
    ],
    ['judged', { teacherTemperature: 0 }, /teacherTemperature should be a number above 0, found 0/],
  ])('refuses %s %j, and leaves nothing behind', async (file, more, message) => {
    const options = small('refused', { data: join(data, file), method: 'distill', ...more });
    await expect(trainRetriever(options)).rejects.toThrow(message);
    await expect(readFile(join(runs, 'refused', 'settings.json'))).rejects.toThrow(/ENOENT/);
  });
});

describe('scored-pairs', () => {
  it.each(['cosent', 'cosine-similarity'])('learns from scores: %s', async (loss) => {
    const file = join(data, 'pairs.jsonl');
    const { result, losses, values } = await train(
      small(`pairs-${loss}`, { data: file, method: 'scored-pairs', loss, steps: 150, evalEvery: 50 }),
    );
    expect(half(losses, true)).toBeLessThan(half(losses, false));
    expect(values.at(-1)).toBeGreaterThan(values[0]!);
    expect(values.at(-1)).toBeGreaterThan(0.5);
    const retriever = await loadRetriever(result.model);
    const { metrics } = await evaluateScoredPairs(retriever, await loadScoredPairs(file), 'dev', {
      threads: 1,
    });
    await retriever.dispose();
    expect(metrics.spearman).toBeCloseTo(result.best.value!, 6);
  });

  it('AnglELoss improves a model that is trained already', async () => {
    const file = { data: join(data, 'pairs.jsonl'), method: 'scored-pairs' };
    const { result } = await train(small('angle-start', { ...file, steps: 60, evalEvery: 60 }));
    const more = { ...file, model: join(runs, 'angle-start'), loss: 'AnglELoss', lr: 0.01, batchSize: 64 };
    const { values, losses } = await train(small('angle', { ...more, steps: 60, evalEvery: 60 }));
    expect(half(losses, true)).toBeLessThan(half(losses, false));
    expect(values.at(-1)).toBeGreaterThan(result.best.value!);
  });

  it('takes scores of any scale for losses of order', async () => {
    const of = (file: string, out: string) =>
      train(small(out, { data: join(data, file), method: 'scored-pairs', steps: 5, evalSplit: 'none' }));
    expect((await of('ratings.jsonl', 'ratings')).losses).toEqual((await of('pairs.jsonl', 'unit')).losses);
  });

  it.each([
    [
      'ratings.jsonl',
      { loss: 'cosine-similarity' },
      /needs scores from −1 to 1; here they are from 0 to 5\n.*loss: 'cosent'/,
    ],
    ['no-score.jsonl', {}, /no-score\.jsonl:1: no score column\n {2}help: .*understood are score, label/],
    ['text-score.jsonl', {}, /:1: field "score" should be a number/],
    ['one-text.jsonl', {}, /one-text\.jsonl:1: no sentence2 column/],
    [
      'pairs.jsonl',
      { evalMetric: 'ndcg@10' },
      /scored pairs have no metric "ndcg@10"\n {2}help: use spearman or pearson/,
    ],
    [
      'pairs.jsonl',
      { method: 'in-batch' },
      /no query column\n.*Scored pairs are trained on by method: 'scored-pairs'/,
    ],
  ])('refuses %s %j', async (file, more, message) => {
    const options = small('refused', { data: join(data, file), method: 'scored-pairs', ...more });
    await expect(trainRetriever(options)).rejects.toThrow(message);
  });
});

describe('gist', () => {
  it('continues to the same bytes after an interruption', async () => {
    const { result } = await train(small('guide', { method: 'in-batch' }));
    const options = (out: string) =>
      small(out, {
        loss: 'GISTEmbedLoss',
        guide: join(runs, 'guide'),
        relativeMargin: 0.05,
        matryoshka: [16],
        steps: 12,
      });
    await trainRetriever(options('whole'));
    const controller = new AbortController();
    const stop: TrainCallbacks = {
      signal: controller.signal,
      onStep: ({ step }) => step === 5 && controller.abort(),
    };
    await expect(trainRetriever(options('parts'), stop)).rejects.toThrow(InterruptedError);
    await trainRetriever({ ...options('parts'), resume: true });
    for (const file of [
      'model/model.safetensors',
      'checkpoint/state.json',
      'checkpoint/optimizer.safetensors',
    ]) {
      const [whole, parts] = await Promise.all(
        ['whole', 'parts'].map((out) => readFile(join(runs, out, file))),
      );
      expect(parts!.equals(whole!), file).toBe(true);
    }
    const changed = { ...options('parts'), matryoshka: [8], resume: true };
    await expect(trainRetriever(changed)).rejects.toThrow(/matryoshka: \[16\] then, \[8\] now/);
    expect(result.best.value).toBeGreaterThan(0);
  });
});

describe('matryoshka', () => {
  it('the first dimensions keep more of a model that was trained for it', async () => {
    const dev = await loadData(join(data, 'judged'));
    const of = async (folder: string, dimensions: number) => {
      const retriever = await loadRetriever(folder, { dimensions });
      const { metrics } = await evaluateRetriever(retriever, dev, 'dev', {
        metrics: ['ndcg@10'],
        threads: 1,
      });
      await retriever.dispose();
      return metrics['ndcg@10']!;
    };
    const options = { steps: 200, hidden: 64, evalSplit: 'none' };
    const { result: plain } = await train(small('plain', options));
    const { result: nested } = await train(small('nested', { ...options, matryoshka: [16, 4] }));
    expect(await of(nested.model, 4)).toBeGreaterThan((await of(plain.model, 4)) + 0.02);
  });

  it('a model cut to fewer dimensions says so in its folder, and has an embedding space of its own', async () => {
    const { result } = await train(small('cut', { steps: 2, matryoshka: [8] }));
    const whole = await loadRetriever(result.model);
    const cut = await loadRetriever(result.model, { dimensions: 8 });
    expect(embeddingSpaceId(cut)).not.toBe(embeddingSpaceId(whole));
    const folder = join(runs, 'cut-model');
    await saveRetriever(folder, cut);
    const again = await loadRetriever(folder);
    expect(embeddingSpaceId(again)).toBe(embeddingSpaceId(cut));
    const read = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8'));
    expect(await read('config_sentence_transformers.json')).toMatchObject({ truncate_dim: 8 });
    expect(await read('undrift.json')).toMatchObject({ dimensions: 8 });
    expect(await readFile(join(folder, 'README.md'), 'utf8')).toContain('the first 8 of 32');

    const [long, short] = [await whole.encode('query', [query(3)]), await again.encode('query', [query(3)])];
    const length = Math.hypot(...long.subarray(0, 8));
    expect(short).toHaveLength(8);
    for (const [i, value] of short.entries()) expect(value).toBeCloseTo(long[i]! / length, 5);
    await expect(loadRetriever(result.model, { dimensions: 64 })).rejects.toThrow(
      /64 dimensions of a model that has 32\n {2}help: keep 32 or fewer/,
    );
    for (const retriever of [whole, cut, again]) await retriever.dispose();
  });
});
