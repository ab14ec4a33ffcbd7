import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadAnyData } from './any-data.ts';
import { countPieces, scriptShares } from './pieces.ts';
import { dataStatistics } from './statistics.ts';

const lines = (records: readonly object[]) => records.map((each) => `${JSON.stringify(each)}\n`).join('');
const statisticsOf = async (files: Record<string, string>, name = 'set') =>
  dataStatistics(await loadAnyData(join(tempFiles(files), name)));

describe('loadAnyData', () => {
  it('recognises pairs, scored pairs and documents alone', async () => {
    const folder = tempFiles({
      'pairs.jsonl': lines([{ question: 'a b', answer: 'c d' }]),
      'scored.jsonl': lines([{ sentence1: 'a b', sentence2: 'c d', score: 0.7 }]),
      'graded.jsonl': lines([{ query: 'a b', passage: 'c d', score: 0.7 }]),
      'texts.jsonl': lines([{ text: 'a b' }]),
      'notes.txt': 'a b\nc d\n',
      'beir/corpus.jsonl': lines([{ _id: '1', text: 'a b' }]),
    });
    const kinds = await Promise.all(
      ['pairs.jsonl', 'scored.jsonl', 'graded.jsonl', 'texts.jsonl', 'notes.txt', 'beir'].map(
        async (name) => (await loadAnyData(join(folder, name))).kind,
      ),
    );
    expect(kinds).toEqual(['pairs', 'scored-pairs', 'scored-pairs', 'texts', 'texts', 'texts']);
  });

  it.each([
    ['pairs', { query: 'a', positive: 'b' }, 'positive'],
    ['scored pairs', { sentence1: 'a', sentence2: 'b', score: 0.5 }, 'sentence2'],
    ['texts', { text: 'a' }, 'text'],
  ])('reports a bad row among %s as such', async (_, good, field) => {
    const bad = { ...good, [field]: 7 };
    const folder = tempFiles({ 'rows.jsonl': lines([good, good, bad]) });
    await expect(loadAnyData(join(folder, 'rows.jsonl'))).rejects.toThrow(/rows\.jsonl:3: /);
  });

  it('throws where there is nothing', async () => {
    await expect(loadAnyData(join(tempFiles(), 'absent'))).rejects.toThrow('absent');
  });
});

describe('dataStatistics', () => {
  it('counts texts that occur more than once, by their comparable form', async () => {
    const found = await statisticsOf({
      'set/corpus.jsonl': lines([
        { _id: 'a', text: 'One document' },
        { _id: 'b', text: 'one  document' },
        { _id: 'c', text: 'another' },
        { _id: 'd', text: 'what is it' },
      ]),
      'set/queries.jsonl': lines([
        { _id: '1', text: 'What is it?' },
        { _id: '2', text: 'what is it?' },
        { _id: '3', text: 'Who?' },
        { _id: '4', text: 'What is it' },
      ]),
      'set/qrels/train.tsv': 'query-id\tcorpus-id\tscore\n1\ta\t1\n3\tb\t1\n3\tc\t0\n4\td\t2\n',
      'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\n2\ta\t1\n3\tc\t1\n',
    });
    expect(found).toMatchObject({
      kind: 'pairs',
      duplicateDocuments: 1,
      duplicateQueries: 1,
      // Query 1 has the text of query 2; query 3 is in both splits.
      sharedQueries: { test: 2 },
      splits: { train: { queries: 3, judgements: 4, relevant: 3, negatives: 1 }, test: { queries: 2 } },
      training: { queries: 3, positiveDocuments: 2, queriesPerPositive: 1.5, equalToPositive: 1 },
    });
    expect(found.training!.negativesPerQuery).toBeCloseTo(1 / 3, 2);
  });

  it('counts the negatives and the scores of a teacher', async () => {
    const train = [
      { query: 'q1', positive: 'p1', negative: ['n1', 'n2'], scores: [3, 2, 1] },
      { query: 'q2', positive: 'p2', negative: ['n3', 'n4'] },
    ];
    const other = lines([{ query: 'q3', positive: 'p3' }]);
    const found = await statisticsOf({
      'set/train.jsonl': lines(train),
      'set/dev.jsonl': other,
      'set/test.jsonl': other,
    });
    expect(found.training).toMatchObject({ negativesPerQuery: 2, scoredRatio: 0.5, queriesPerPositive: 1 });
    expect(found.sharedQueries).toEqual({});
  });

  it('knows data without a training split, without judgements and of scored pairs', async () => {
    const judged = {
      'set/corpus.jsonl': lines([{ _id: 'a', text: 'b' }]),
      'set/queries.jsonl': lines([{ _id: '1', text: 'q' }]),
      'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\n1\ta\t1\n',
    };
    expect(await statisticsOf(judged)).toMatchObject({ training: null, splits: { test: { queries: 1 } } });
    const alone = await statisticsOf({ 'set/corpus.jsonl': judged['set/corpus.jsonl'] });
    expect(alone).toMatchObject({ kind: 'texts', training: null, queryWords: null, splits: {} });
    const pair = lines([{ sentence1: 'a', sentence2: 'b', score: 1 }]);
    const scored = await statisticsOf({
      'set/train.jsonl': pair,
      'set/dev.jsonl': pair,
      'set/test.jsonl': pair,
    });
    expect(scored).toMatchObject({
      kind: 'scored-pairs',
      splits: { train: { queries: 1 } },
      sharedQueries: { dev: 1, test: 1 },
    });
  });
});

describe('countPieces', () => {
  it.each([
    ['', 0],
    ['two words', 2],
    ["don't stop!", 5],
    ['日本語です', 4],
    ['naïve café', 2],
    ['cafe\u0301', 1],
    ['a\u200bb', 2],
  ])('of %j are %i', (text, pieces) => expect(countPieces(text)).toBe(pieces));
});

describe('scriptShares', () => {
  it('measures letters only, the largest share first', () => {
    expect(scriptShares(['abc 123 привет'])).toEqual({ Cyrillic: 0.67, Latin: 0.33 });
    expect(scriptShares(['ภาษา', 'ꦗꦮ'])).toHaveProperty('other');
    expect(scriptShares(['12 !'])).toEqual({});
  });
});
