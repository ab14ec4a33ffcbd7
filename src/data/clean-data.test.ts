import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadAnyData } from './any-data.ts';
import { cleanData } from './clean-data.ts';
import { loadData } from './load.ts';
import { dataStatistics } from './statistics.ts';

const lines = (records: readonly object[]) => records.map((each) => `${JSON.stringify(each)}\n`).join('');
const HEAD = 'query-id\tcorpus-id\tscore\n';

/** Judged data with copies of documents, shared queries and a query that is its own positive. */
const judged = {
  'set/corpus.jsonl': lines([
    { _id: 'a', title: 'One', text: 'document' },
    { _id: 'b', text: 'one  document' },
    { _id: 'c', text: 'another' },
    { _id: 'd 1', text: 'what is it' },
  ]),
  'set/queries.jsonl': lines([
    { _id: '1', text: 'What is this?' },
    { _id: '2', text: 'what is THIS?' },
    { _id: '3', text: 'Who?' },
    { _id: '4', text: 'What is it' },
    { _id: '5', text: 'Where?' },
  ]),
  'set/qrels/train.tsv': `${HEAD}1\ta\t1\n3\tb\t2\n3\ta\t1\n3\tc\t0\n4\td 1\t2\n5\td 1\t1\n`,
  'set/qrels/test.tsv': `${HEAD}2\tb\t1\n2\tgone\t1\n`,
};

describe('cleanData', () => {
  it('merges copies and leaves out shared queries and queries that are their own positive', async () => {
    const folder = tempFiles(judged);
    const out = join(folder, 'clean');
    const found = await cleanData(join(folder, 'set'), { out, devFraction: 0 });
    expect(found).toEqual({
      folder: out,
      documents: 3,
      mergedDocuments: 1,
      sharedQueries: { test: 1 },
      ownTextQueries: 1,
      splits: { train: 2, test: 1 },
      heldOut: [],
    });
    expect(readFileSync(join(out, 'qrels/train.tsv'), 'utf8')).toBe(`${HEAD}3\ta\t2\n3\tc\t0\n5\td 1\t1\n`);
    expect(readFileSync(join(out, 'qrels/test.tsv'), 'utf8')).toBe(`${HEAD}2\ta\t1\n2\tgone\t1\n`);
    const data = await loadData(out);
    expect([...data.corpus.texts()]).toEqual(['One document', 'another', 'what is it']);
    expect([...data.queries.texts()]).toEqual(['what is THIS?', 'Who?', 'Where?']);
    expect(dataStatistics(await loadAnyData(out))).toMatchObject({
      duplicateDocuments: 0,
      sharedQueries: {},
      training: { equalToPositive: 0 },
    });
  });

  it('holds out the splits that are absent, and keeps the queries of one text together', async () => {
    const pairs = Array.from({ length: 200 }, (_, i) => ({
      query: i % 2 ? `Question ${i >> 1}` : `question  ${i >> 1}`,
      positive: `answer ${i}`,
      negative: 'wrong',
    }));
    const folder = tempFiles({ 'pairs.jsonl': lines(pairs) });
    const out = join(folder, 'clean');
    const found = await cleanData(join(folder, 'pairs.jsonl'), { out, devFraction: 0.2, testFraction: 0.1 });
    expect(found.heldOut).toEqual(['dev', 'test']);
    const { train, dev, test } = found.splits as Record<'train' | 'dev' | 'test', number>;
    expect(train + dev + test).toBe(200);
    expect(dev).toBeGreaterThan(20);
    expect(test).toBeGreaterThan(8);
    expect(dataStatistics(await loadAnyData(out))).toMatchObject({
      sharedQueries: {},
      training: { negativesPerQuery: 1 },
    });
    expect(readFileSync(join(out, 'qrels/dev.tsv'), 'utf8')).not.toMatch(/\t0\n/);
  });

  it('refuses what it cannot keep, and a folder that is not empty', async () => {
    const folder = tempFiles({
      'scored.jsonl': lines([{ sentence1: 'a', sentence2: 'b', score: 1 }]),
      'texts.jsonl': lines([{ text: 'a' }]),
      'taught.jsonl': lines([{ query: 'q', positive: 'p', negative: 'n', scores: [2, 1] }]),
      'own.jsonl': lines([{ query: 'same', positive: 'Same' }]),
      'full/notes.txt': 'mine',
      'id/corpus.jsonl': lines([{ _id: 'a\tb', text: 'x' }]),
      'id/queries.jsonl': lines([{ _id: 'q', text: 'y' }]),
      'id/qrels/train.jsonl': lines([{ 'query-id': 'q', 'corpus-id': 'a\tb', score: 1 }]),
    });
    const cleaning = (name: string, out = 'new') => cleanData(join(folder, name), { out: join(folder, out) });
    await expect(cleaning('scored.jsonl')).rejects.toThrow('holds scored pairs');
    await expect(cleaning('texts.jsonl')).rejects.toThrow('holds documents alone');
    await expect(cleaning('taught.jsonl')).rejects.toThrow("has a teacher's scores");
    await expect(cleaning('own.jsonl')).rejects.toThrow('no training query is left');
    await expect(cleaning('own.jsonl', 'full')).rejects.toThrow('is not empty');
    await expect(cleaning('id')).rejects.toThrow(/id "a\\tb"/);
    await expect(
      cleanData(join(folder, 'own.jsonl'), { out: join(folder, 'new'), devFraction: 0.6, testFraction: 0.4 }),
    ).rejects.toThrow('devFraction and testFraction leave nothing to train on');
    expect(existsSync(join(folder, 'new'))).toBe(false);
  });
});
