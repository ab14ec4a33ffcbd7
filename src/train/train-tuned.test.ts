import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { largestDifference } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { InterruptedError } from './callbacks.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const line = (record: Record<string, string>) => `${JSON.stringify(record)}\n`;
const each = (make: (i: number) => string) => Array.from({ length: 40 }, (_, i) => make(i)).join('');
const words = (i: number, prefix: string) => [i % 7, i % 5, i % 3].map((n) => `${prefix}${n}x`).join(' ');

let data: string;
let runs: string;
let base: string;

const options = (out: string, more: Partial<TrainOptions> = {}): TrainOptions & { threads: number } => ({
  data,
  out: join(runs, out),
  batchSize: 8,
  steps: 6,
  evalSplit: 'none',
  threads: 1,
  ...more,
});

beforeAll(async () => {
  runs = tempFiles();
  data = tempFiles({
    'corpus.jsonl': each((i) => line({ _id: `d${i}`, text: words(i, 'doc') })),
    'queries.jsonl': each((i) => line({ _id: `q${i}`, text: words(i, 'ask') })),
    'qrels/train.tsv': `query-id\tcorpus-id\tscore\n${each((i) => `q${i}\td${i}\t1\n`)}`,
  });
  const model = { model: 'transformer', layers: 2, hidden: 16, heads: 2, vocabSize: 100, maxDocTokens: 16 };
  base = (await trainRetriever(options('base', { ...model, maxQueryTokens: 16 }))).model;
});

const weights = async (...path: string[]) => (await readSafetensors(join(runs, ...path))).tensors;

describe.each<[string, Partial<TrainOptions>]>([
  ['adapters', { lora: 4 }],
  ['adapters in separate towers, with a fresh projection', { lora: 4, towers: 'separate', projection: 8 }],
  ['all but frozen parts', { freeze: ['embeddings', 'layers:0'], lr: 1e-3 }],
])('%s', (name, tuning) => {
  it('a run that was stopped and resumed gives the bytes of one that was not', async () => {
    const notes: string[] = [];
    const own = (out: string) => options(out, { model: base, ...tuning });
    await trainRetriever(own(`${name} whole`), { onNote: (note) => notes.push(note) });
    expect(notes.join('\n')).toMatch(/^trains [\d,]+ of [\d,]+ parameters/m);
    const stop = new AbortController();
    const stopped = trainRetriever(own(`${name} parts`), {
      signal: stop.signal,
      onStep: ({ step }) => step === 3 && stop.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
    await trainRetriever({ ...own(`${name} parts`), resume: true });
    const tower = tuning.towers ? 'document/' : '';
    for (const file of [
      'checkpoint/parameters.safetensors',
      'checkpoint/optimizer.safetensors',
      'checkpoint/state.json',
      `model/${tower}model.safetensors`,
      ...(tuning.lora ? [`adapter/${tower}adapter_model.safetensors`] : []),
    ]) {
      const [a, b] = [`${name} whole`, `${name} parts`].map((out) => readFile(join(runs, out, file)));
      expect((await a!).equals(await b!), file).toBe(true);
    }
  });

  it('moves only trained weights, in the saved model too', async () => {
    const tower = tuning.towers ? 'document/' : '';
    const [before, after] = [
      await weights('base', 'model', 'model.safetensors'),
      await weights(`${name} whole`, 'model', `${tower}model.safetensors`),
    ];
    const isTrained = (weight: string) =>
      tuning.lora ? /self\.(query|value)\.weight$/.test(weight) : weight.startsWith('encoder.layer.1.');
    for (const [weight, { data: values }] of Object.entries(before)) {
      const moved = largestDifference(values as Float32Array, after[weight]!.data as Float32Array);
      if (isTrained(weight)) expect(moved, weight).toBeGreaterThan(0);
      else expect(moved, weight).toBe(0);
    }
    const kept = Object.keys(await weights(`${name} whole`, 'checkpoint', 'parameters.safetensors'));
    expect(kept.some((weight) => weight.includes('word_embeddings'))).toBe(false);
    if (tuning.projection) expect(kept).toContain('document/projection.weight');
  });

  it('saves a model that loads without adapters', async () => {
    const retriever = await loadRetriever(join(runs, `${name} whole`, 'model'));
    expect(retriever.adapters.size).toBe(0);
    expect(retriever.dimension).toBe(tuning.projection ?? 16);
    expect(retriever.config.towers).toBe(tuning.towers ?? 'shared');
    const [vector] = await retriever.encode('query', ['ask1x ask2x']);
    expect(Number.isFinite(vector)).toBe(true);
    await retriever.dispose();
  });
});

it('refuses to resume from another model than it began with', async () => {
  const model = join(runs, 'copy');
  await cp(base, model, { recursive: true });
  const own = options('moved', { model, lora: 4, saveEvery: 2 });
  await trainRetriever(own);
  await cp(join(runs, 'all but frozen parts whole', 'model'), model, { recursive: true });
  await expect(trainRetriever({ ...own, resume: true })).rejects.toThrow(/is not the model that the run/);
});

it.each<[Partial<TrainOptions>, RegExp]>([
  [{ lora: 4 }, /lora keeps weights .*\n.*model: '<folder>'/],
  [{ freeze: ['embeddings'] }, /freeze keeps weights/],
  [{ loraAlpha: 4 }, /loraAlpha keeps weights/],
])('refuses %o for a new model', async (tuning, message) => {
  await expect(trainRetriever(options('new', tuning))).rejects.toThrow(message);
});
