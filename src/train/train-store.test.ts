import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { indexPassages } from '../store/index-passages.ts';
import { removePassages } from '../store/maintain.ts';
import { Store } from '../store/store.ts';
import type { TrainOptions } from './settings.ts';
import { type TrainResult, trainRetriever } from './train-retriever.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const DOCUMENTS = Array.from({ length: 60 }, (_, i) => ({
  id: `d${i}`,
  title: i % 3 === 0 ? phraseText([i]) : '',
  text: phraseText([i, Math.floor(i / 10), 3 * i + 1]),
}));
const QUERIES = Array.from({ length: 40 }, (_, i) => ({
  _id: `q${i}`,
  text: phraseText([Math.floor(i / 10), i]),
}));
const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const qrels = (queries: readonly number[]) =>
  `query-id\tcorpus-id\tscore\n${queries.map((i) => `q${i}\td${i}\t1\n`).join('')}`;
const rows = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

const folder = tempFiles({
  'whole/corpus.jsonl': lines(DOCUMENTS.map(({ id, ...fields }) => ({ _id: id, ...fields }))),
  'whole/queries.jsonl': lines(QUERIES),
  'whole/qrels/train.tsv': qrels(rows(30)),
  'whole/qrels/dev.tsv': qrels(rows(10, 30)),
  // The same without documents.
  'asked/queries.jsonl': lines(QUERIES),
  'asked/qrels/train.tsv': qrels(rows(30)),
  'asked/qrels/dev.tsv': qrels(rows(10, 30)),
  'pairs.jsonl': lines(
    rows(30).map((i) => {
      const { title, text } = DOCUMENTS[i]!;
      return { query: QUERIES[i]!.text, positive: { title, text } };
    }),
  ),
});
const [whole, asked, model, stores] = ['whole', 'asked', 'model', 'stores'].map((name) =>
  join(folder, name),
) as [string, string, string, string];
const store = join(stores, 'full');
const compute = { threads: 1 };

beforeAll(async () => {
  const retriever = smallRetriever({ kind: 'static' });
  await saveRetriever(model, retriever, { onnx: false });
  const opened = await Store.open(store, { create: TERMS });
  await indexPassages(opened, retriever, DOCUMENTS, { model, ...compute });
  await opened.close();
  await retriever.dispose();
}, 60_000);

async function train(
  name: string,
  options: Partial<TrainOptions> & { resume?: boolean },
): Promise<TrainResult & { notes: string[]; weights: Buffer }> {
  const notes: string[] = [];
  const result = await trainRetriever(
    {
      model,
      steps: 6,
      batchSize: 4,
      evalEvery: 3,
      baseline: false,
      ...compute,
      ...options,
      out: join(folder, name),
    },
    { onNote: (note) => notes.push(note) },
  );
  return { ...result, notes, weights: readFileSync(join(result.model, 'model.safetensors')) };
}

describe('training on the passages of a store', () => {
  it('gives the bytes of training on the same documents of a folder', async () => {
    const own = await train('own', { data: whole });
    const stored = await train('stored', { data: asked, store });
    expect(stored.weights.equals(own.weights)).toBe(true);
    expect(stored.best).toEqual(own.best);
    expect(stored.settings).toMatchObject({ data: asked, store, missingDocuments: 'error' });
  });

  it('resumes to the same bytes, and refuses a store that has changed', async () => {
    const once = await train('once', { data: asked, store, method: 'negative-cache', steps: 8 });
    const stop = new AbortController();
    const stopped = trainRetriever(
      {
        ...{ model, data: asked, store, method: 'negative-cache', steps: 8, batchSize: 4, evalEvery: 3 },
        ...{ baseline: false, ...compute, out: join(folder, 'twice') },
      },
      { signal: stop.signal, onStep: ({ step }) => step === 5 && stop.abort() },
    );
    await expect(stopped).rejects.toThrow('stopped');
    const again = { data: asked, store, method: 'negative-cache', steps: 8, resume: true };
    const twice = await train('twice', again);
    expect(twice.weights.equals(once.weights)).toBe(true);

    const other = join(stores, 'changing');
    const opened = await Store.open(other, { create: TERMS });
    const retriever = smallRetriever({ kind: 'static' });
    await indexPassages(opened, retriever, [...DOCUMENTS, { id: 'more', text: 'a file' }], compute);
    await opened.close();
    await expect(train('twice', { ...again, store: other })).rejects.toThrow('is not what the run');
  });

  it.each([
    ['negative-cache', { cacheSize: 60 }],
    ['snapshot', { cacheSize: 30, snapshotEvery: 100 }],
    ['exhaustive', {}],
    ['async-index', { refresh: 'async:100' }],
    ['corrector', { cacheSize: 40 }],
  ] as const)('starts the table of %s from the vectors of the store', async (method, options) => {
    const negative = { data: asked, method, ...options, steps: 2, evalSplit: 'none' };
    const embedded = await train(`${method}-own`, { ...negative, data: whole });
    const read = await train(`${method}-stored`, { ...negative, store });
    const spent = ({ ledger }: TrainResult) => ledger.refreshEncodes ?? 0;
    const rowsOfTable = ('cacheSize' in options && options.cacheSize) || 60;
    expect(spent(embedded) - spent(read)).toBe(rowsOfTable);
    expect(read.notes.join('\n')).toContain('filled before the first step with the vectors of the store');
    expect(read.notes.join('\n')).not.toMatch(/documents embedded: \d+ before/);
    expect(read.notes.join('\n')).not.toContain('has no vectors');
  });

  it('mines with the vectors of the store first', async () => {
    const mined = {
      data: asked,
      method: 'hard-negatives',
      mineFrom: 'self',
      steps: 2,
      rankTo: 20,
      evalSplit: 'none',
    };
    const read = await train('mined', { ...mined, store });
    expect(read.ledger.miningEncodes ?? 0).toBe(0);
    const embedded = await train('mined-own', { ...mined, data: whole });
    expect(embedded.ledger.miningEncodes).toBe(60);
  });

  it('embeds what the store has no vectors of, and says so', async () => {
    const part = join(stores, 'part');
    const opened = await Store.open(part, { create: TERMS });
    const [retriever, other] = [
      smallRetriever({ kind: 'static' }),
      smallRetriever({ kind: 'static', seed: 9 }),
    ];
    await indexPassages(opened, retriever, DOCUMENTS.slice(0, 50), compute);
    await indexPassages(opened, other, DOCUMENTS, compute);
    await opened.close();
    const options = { data: asked, method: 'exhaustive', steps: 1, evalSplit: 'none' };
    const some = await train('some', { ...options, store: part });
    expect(some.ledger.refreshEncodes).toBe(10);
    expect(some.notes).toContain(
      `${part} has vectors of ${model} for 50 of 60 documents: the others are embedded where the method needs them`,
    );
    const full = await train('full', { ...options, store });
    // 10 rows were embedded in another batch than those of the store, which rounds differently at most.
    expect(some.ledger.refreshEncodes! - full.ledger.refreshEncodes!).toBe(10);
    const none = await train('none', { ...options, model: 'static', hidden: 32, vocabSize: 200, store });
    expect(none.ledger.refreshEncodes).toBe(60);
    expect(none.notes).toContain(
      `${store} has no vectors of static: documents are embedded where the method needs them`,
    );
  });

  it('names every right answer that the store lacks, unless it is told to leave them out', async () => {
    const part = join(stores, 'lacking');
    const opened = await Store.open(part, { create: TERMS });
    const retriever = smallRetriever({ kind: 'static' });
    await indexPassages(opened, retriever, DOCUMENTS, compute);
    await removePassages(opened, ['d3', 'd7']);
    await opened.close();
    await expect(train('lacking', { data: asked, store: part })).rejects.toThrow(
      new RegExp(`unknown document id "d3": the store ${part} has none such[^]*"d7"`),
    );
    await train('lacking', { data: asked, store: part, missingDocuments: 'drop' });
    await expect(train('lacking-pairs', { data: join(folder, 'pairs.jsonl'), store: part })).rejects.toThrow(
      /has no passage ".*"/,
    );
  });

  it('finds the passages of pairs by their texts, and takes negatives from all of the store', async () => {
    const data = join(folder, 'pairs.jsonl');
    const result = await train('pairs', { data, store, method: 'bm25-negatives', evalSplit: 'none' });
    expect(result.notes[0] ?? '').not.toContain('left out');
    expect(result.notes.join('\n')).toContain('60 documents');
  });

  it('crops documents of a store without any data', async () => {
    const result = await train('crop', { store, method: 'crop', evalSplit: 'none' });
    expect(result.settings.data).toBe(store);
    const resumed = await train('crop', {
      data: store,
      store,
      method: 'crop',
      evalSplit: 'none',
      resume: true,
    });
    expect(resumed.weights.equals(result.weights)).toBe(true);
  });

  it('refuses what a store cannot give', async () => {
    await expect(train('x', { store })).rejects.toThrow('data is missing');
    await expect(train('x', { data: asked, store: join(stores, 'absent') })).rejects.toThrow(
      'is not a store',
    );
    const judged = { documents: [{ id: 'd0', text: 'a file' }], queries: QUERIES, judgements: {} };
    await expect(
      train('x', { data: { ...judged, queries: [{ id: 'q', text: 'x' }] }, store }),
    ).rejects.toThrow('data with documents of its own');
    const scoredPairs = [{ sentence1: 'a', sentence2: 'b', score: 1 }];
    await expect(train('x', { data: { scoredPairs }, method: 'scored-pairs', store })).rejects.toThrow(
      'no documents besides their own',
    );
    rmSync(join(folder, 'x'), { recursive: true, force: true });
  });
});
