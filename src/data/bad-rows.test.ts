import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { evaluateBm25 } from '../retrieval/evaluate-retriever.ts';
import { loadCorpus } from './documents.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import { loadScoredPairs } from './scored-pairs.ts';
import { loadTexts } from './texts.ts';

const lines = (...rows: unknown[]) =>
  rows.map((row) => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`).join('');

describe('bad rows', () => {
  const pairs = lines(
    { query: 'a', positive: 'b' },
    { query: '', positive: 'b' },
    '{bad',
    { query: 'c', positive: 'd' },
    { query: 'e' },
  );
  const options = { devFraction: 0, testFraction: 0 };
  const load = (given: LoadOptions = {}) =>
    loadData(`${tempFiles({ 'p.jsonl': pairs })}/p.jsonl`, { ...options, ...given });

  it('are all listed in one error, with file and line', async () => {
    for (const skipBadRows of [undefined, 0, 2])
      await expect(load({ skipBadRows })).rejects.toThrow(
        /p\.jsonl:2: the query is empty, and other rows are bad:\n.*p\.jsonl:3: bad JSON: "{bad"\n.*p\.jsonl:5: no positive column\n {2}help: skipBadRows: 3 leaves them out/,
      );
  });

  it('are left out with a note, up to the number allowed', async () => {
    const data = await load({ skipBadRows: 3 });
    expect([...data.queries.texts()]).toEqual(['a', 'c']);
    expect(data.notes).toEqual([expect.stringMatching(/^left out 3 bad rows: .*:2: .*; .*:3: .*; .*:5: /)]);
  });

  it('stop the reading when there are too many to list', async () => {
    const many = lines({ query: 'a', positive: 'b' }, ...Array.from({ length: 100 }, (_, i) => `{bad ${i}`));
    const error = await loadData(`${tempFiles({ 'p.jsonl': many })}/p.jsonl`).catch(String);
    expect(error).toMatch(/:2: bad JSON.*\n(.*bad JSON.*\n){19} {2}… \(reading stopped here\)/);
    const data = await loadData(`${tempFiles({ 'p.jsonl': many })}/p.jsonl`, { skipBadRows: 100 });
    expect(data.notes.at(-1)).toMatch(/^left out 100 bad rows: .*; and 80 more$/);
  });

  it('name the fault once if every row has it', async () => {
    const wrong = loadData(`${tempFiles({ 'p.jsonl': lines({ q: 1 }, { q: 2 }) })}/p.jsonl`);
    await expect(wrong).rejects.toThrow(/p\.jsonl:1: no query column\n {2}help: the record has "q"/);
  });

  it.each<[string, Record<string, string>, (path: string, options: LoadOptions) => Promise<unknown>]>([
    ['corpus', { 'corpus.jsonl': lines({ _id: 'a', text: 'b' }, {}, { _id: 'a', text: 'c' }) }, loadCorpus],
    ['texts', { 'corpus.jsonl': lines({ _id: 'a', text: 'b' }, { _id: 'c' }, 'x') }, loadTexts],
    [
      'scored pairs',
      { 'train.jsonl': lines({ sentence1: 'a', sentence2: 'b', score: 1 }, { sentence1: 'a' }, []) },
      (path, given) => loadScoredPairs(path, { ...options, ...given }),
    ],
    [
      'MS MARCO',
      {
        'collection.tsv': '1\ta\nb\n',
        'queries.train.tsv': '1\tq\n\tr\n',
        'qrels.train.tsv': '1\t0\t1\t1\n',
      },
      loadData,
    ],
    [
      'BEIR with bad queries and judgements',
      {
        'corpus.jsonl': lines({ _id: 'a', text: 'b' }),
        'queries.jsonl': lines({ _id: 'q', text: 'r' }, { _id: 's' }),
        'qrels/test.tsv': 'q\ta\t1\nq\ta\n',
      },
      loadData,
    ],
  ])('are skipped in every layout: %s', async (_, files, read) => {
    const folder = tempFiles(files);
    await expect(read(folder, { skipBadRows: 1 })).rejects.toThrow(/skipBadRows: 2 leaves them out/);
    await read(folder, { skipBadRows: 2 });
  });

  it('are items of data in memory', async () => {
    const data = { pairs: [{ query: 'a', positive: 'b' }, { query: '', positive: 'b' }, 3] } as never;
    await expect(loadData(data, options)).rejects.toThrow(
      /pairs\[1\]: .*\n {2}pairs\[2\]: expected an object/,
    );
    expect((await loadData(data, { ...options, skipBadRows: 2 })).queries.size).toBe(1);
  });
});

describe('judgements of absent documents', () => {
  const text = ['libraries open at night', 'schools teach swimming', 'helmets prevent injuries'];
  const files = {
    'corpus.jsonl': lines(
      { _id: 'a1', text: text[0] },
      { _id: 'b1', text: 'night opening costs a lot' },
      { _id: 'a2', text: text[1] },
      { _id: 'b2', text: 'swimming lessons are expensive' },
      { _id: 'a3', text: text[2] },
    ),
    'queries.jsonl': lines(...text.map((each, i) => ({ _id: `a${i + 1}`, text: each }))),
    'qrels/test.tsv': 'a1\tb1\t1\na2\tb2\t1\na3\tb3\t1\n',
  };
  const measure = async (dropSameId: boolean, options: LoadOptions = {}) => {
    const data = await loadData(tempFiles(files), options);
    return await evaluateBm25(data, 'test', { metrics: ['ndcg@10', 'recall@10', 'map'], dropSameId });
  };

  it('count as relevant and not found', async () => {
    expect(await measure(true)).toMatchObject({
      queries: 3,
      metrics: { 'ndcg@10': expect.closeTo(2 / 3, 6), 'recall@10': expect.closeTo(2 / 3, 6) },
    });
    const { metrics } = await measure(false);
    expect(metrics['ndcg@10']).toBeCloseTo((2 / 3) * Math.log2(2) * (1 / Math.log2(3)), 6);
    expect(metrics.map).toBeCloseTo(1 / 3, 6);
    expect((await measure(true, { missingDocuments: 'drop' })).queries).toBe(2);
  });

  it('of a split that is not needed do not stop the load', async () => {
    const folder = tempFiles({ ...files, 'qrels/train.tsv': 'a1\tb1\t1\n', 'qrels/test.tsv': 'a1\tz\t1\n' });
    await expect(loadData(folder)).rejects.toThrow(/test\.tsv:1: unknown document id "z"/);
    const data = await loadData(folder, { neededSplits: ['train', 'none'] });
    expect(data.notes).toEqual([
      expect.stringMatching(/^split test cannot be used: .*unknown document id "z"/),
    ]);
    expect(() => data.qrels('test')).toThrow(/unknown document id "z"/);
    expect(data.examples('train').queryRows.length).toBe(1);
  });
});
