import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { collectGarbage } from '../../test/collect-garbage.ts';
import { sharedData } from '../../test/shared-data.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { loadCorpus } from './documents.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';

const corpus =
  '{"_id":"d1","title":"T","text":"one"}\n{"_id":"d2","text":"two"}\n{"_id":"d3","text":"three"}\n';
const queries = '{"_id":"q1","text":"first"}\n{"_id":"q2","text":"second","metadata":{}}\n';
const header = 'query-id\tcorpus-id\tscore\n';
const beir = {
  'corpus.jsonl': corpus,
  'queries.jsonl': queries,
  'qrels/train.tsv': `${header}q1\td3\t2\nq1\td1\t1\nq1\td2\t0\n`,
  'qrels/test.tsv': `${header}q2\td2\t1\n`,
};

const load = (files: Record<string, string | Uint8Array>, options?: LoadOptions) =>
  loadData(tempFiles(files), options);

async function failure(files: Record<string, string | Uint8Array>, options?: LoadOptions): Promise<string> {
  const error: unknown = await load(files, options).catch((error) => error);
  expect(error).toBeInstanceOf(DataError);
  return (error as Error).message;
}

describe('a BEIR folder', () => {
  it('gives corpus, queries, examples, qrels and sets of positives', async () => {
    const data = await load(beir);
    expect(data.corpus.size).toBe(3);
    expect(data.corpus.text(0)).toBe('T one');
    expect(data.queries.size).toBe(2);
    expect(data.splits).toEqual(['train', 'test']);
    expect(data.notes).toEqual([]);

    const { queryRows, positives, negatives } = data.examples('train');
    expect([...queryRows]).toEqual([0]);
    expect([...positives.rows]).toEqual([2, 0]);
    expect([...positives.grades]).toEqual([2, 1]);
    expect([...negatives!.rows]).toEqual([1]);

    expect(data.qrels('train')).toEqual(
      new Map([
        [
          'q1',
          new Map([
            ['d3', 2],
            ['d1', 1],
            ['d2', 0],
          ]),
        ],
      ]),
    );
    expect(data.qrels('test')).toEqual(new Map([['q2', new Map([['d2', 1]])]]));

    const positivesOf = data.positiveSets('train');
    expect([...positivesOf(0)]).toEqual([0, 2]); // ascending, whatever the order of the file
    expect([...positivesOf(1)]).toEqual([]);
  });

  it('recognises gzip by content, and equal bytes have equal fingerprints', async () => {
    const zipped = { ...beir, 'corpus.jsonl': gzipSync(corpus) };
    const named = { ...zipped, 'corpus.jsonl.gz': zipped['corpus.jsonl'] } as Record<
      string,
      string | Uint8Array
    >;
    delete named['corpus.jsonl'];
    const [one, again, other, gz] = await Promise.all([load(beir), load(beir), load(zipped), load(named)]);
    expect(one.fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(again.fingerprint).toBe(one.fingerprint);
    expect(other.fingerprint).not.toBe(one.fingerprint);
    expect(gz.corpus.text(2)).toBe('three');
    const changed = await load({ ...beir, 'qrels/test.tsv': `${header}q2\td1\t1\n` });
    expect(changed.fingerprint).not.toBe(one.fingerprint);
  });

  it('reads only the splits asked for, with the fingerprint of all', async () => {
    const files = { ...beir, 'qrels/dev.tsv': 'unknown\tids\t1\n' };
    expect(await failure(files)).toMatch(/dev\.tsv:1: unknown query id "unknown"/);
    const data = await load(files, { splits: ['test'] });
    expect(data.splits).toEqual(['test']);
    const lenient = await load(files, { splits: ['test', 'train'], unknownIds: 'skip' });
    expect(lenient.fingerprint).toBe(data.fingerprint);
    expect(await failure(beir, { splits: ['dev'] })).toMatch(/no split "dev"; splits present: train, test/);
    expect(
      (await load(files, { splits: ['validation'], unknownIds: 'skip' }).catch(String)) as string,
    ).toMatch(/dev\.tsv: none of its 1/);
  });

  it('counts what it leaves out', async () => {
    const files = { ...beir, 'qrels/test.tsv': 'q2\td2\t1\nq2\tgone\t1\n' };
    expect((await load(files, { unknownIds: 'skip' })).notes).toEqual([
      'split test: left out 1 judgement of unknown ids',
    ]);
  });

  it('names the development split dev, whatever its file name', async () => {
    const data = await load({ ...beir, 'qrels/validation.tsv': 'q2\td1\t1\n' });
    expect(data.splits).toEqual(['train', 'dev', 'test']);
    expect([...data.examples('validation').positives.rows]).toEqual([0]);
    const both = await load({
      ...beir,
      'qrels/validation.tsv': 'q2\td1\t1\n',
      'qrels/dev.tsv': 'q2\td2\t1\n',
    });
    expect(both.splits).toEqual(['train', 'dev', 'test', 'validation']);
  });

  it('names the splits present if one is missing, and how to make it', async () => {
    const data = await load({ ...beir, 'qrels/train.tsv': 'q1\td1\t0\n' });
    expect(() => data.examples('dev')).toThrow(
      /no split "dev"; splits present: train, test\n {2}help: undrift data clean/,
    );
    expect(() => data.qrels('tset')).toThrow(
      /no split "tset"; splits present: train, test\n {2}help: choose one/,
    );
    expect(() => data.examples('train')).toThrow(
      /no query of split "train" has a document of a grade above 0/,
    );
    const { 'qrels/train.tsv': _, ...testOnly } = beir;
    const evaluationOnly = await load(testOnly);
    expect(() => evaluationOnly.examples('train')).toThrow(
      /splits present: test\n {2}help: to train here, write .*qrels\/train\.tsv/,
    );
    const { 'qrels/test.tsv': __, ...none } = testOnly;
    const bare = await load(none);
    expect(bare.splits).toEqual([]);
    expect(() => bare.positiveSets('test')).toThrow(/no relevance judgements at all/);
  });

  it('reports progress up to the size of each file', async () => {
    const files = { ...beir, 'corpus.jsonl': corpus + '\n'.repeat(2 ** 17) };
    const seen: Progress[] = [];
    await load(files, { onProgress: (progress) => seen.push(progress) });
    const read = seen.filter(({ stage, unit }) => stage === 'read' && unit === 'bytes');
    expect(read).toEqual(seen);
    const sizes = Object.values(files).map((text) => Buffer.byteLength(text));
    const ends = read.filter(({ done, total }) => done === total).map(({ total }) => total);
    expect(ends.toSorted()).toEqual(sizes.toSorted());
    for (const { done, total } of read) expect(done).toBeLessThanOrEqual(total!);
  });

  it.each<[string, Record<string, string | Uint8Array>, RegExp]>([
    ['a bad line', { 'corpus.jsonl': `${corpus}{"_id":"d4","text":"x"` }, /corpus\.jsonl:4: bad JSON/],
    ['no id', { 'corpus.jsonl': '{"text":"x"}\n' }, /corpus\.jsonl:1: no id column/],
    ['no text', { 'corpus.jsonl': '{"_id":"x"}\n' }, /corpus\.jsonl:1: no text column/],
    [
      'text of a wrong type',
      { 'queries.jsonl': '{"_id":"x","text":{}}\n' },
      /queries\.jsonl:1: field "text" should be a string/,
    ],
    [
      'a duplicate document',
      { 'corpus.jsonl': corpus + corpus },
      /corpus\.jsonl:4: document id "d1" was used before, in line 1/,
    ],
    [
      'a duplicate query',
      { 'queries.jsonl': queries + queries },
      /queries\.jsonl:3: query id "q1" was used before, in line 1/,
    ],
    ['an empty corpus', { 'corpus.jsonl': '' }, /corpus\.jsonl: holds no document/],
    ['no query', { 'queries.jsonl': '\n\n' }, /queries\.jsonl: holds no query/],
    [
      'not UTF-8',
      { 'corpus.jsonl': Buffer.from('{"_id":"a","text":"caf\xe9"}\n', 'latin1') },
      /corpus\.jsonl:1: not UTF-8/,
    ],
    [
      'cut gzip',
      { 'corpus.jsonl': gzipSync(corpus).subarray(0, 40) },
      /corpus\.jsonl: the gzip data ends too early/,
    ],
    ['unknown ids', { 'qrels/test.tsv': 'q1\td99\t1\n' }, /test\.tsv:1: unknown document id "d99"/],
    [
      'two files of one role',
      { 'corpus.jsonl.gz': gzipSync(corpus) },
      /holds corpus\.jsonl and corpus\.jsonl\.gz\n {2}help: keep one/,
    ],
  ])('refuses %s', async (_, files, message) => {
    expect(await failure({ ...beir, ...files })).toMatch(message);
  });

  it('holds a query and a document of a megabyte', async () => {
    const text = 'wört '.repeat(2 ** 18);
    const data = await load({
      ...beir,
      'corpus.jsonl': `${corpus}${JSON.stringify({ _id: 'big', text })}\n`,
      'queries.jsonl': `${queries}${JSON.stringify({ _id: 'big', text })}\n`,
    });
    expect(data.corpus.text(data.corpus.row('big')!)).toBe(text);
    expect(data.queries.text(2)).toBe(text);
  });
});

describe('an MS MARCO folder', () => {
  const msMarco = {
    'collection.tsv': '0\tfirst passage\n1\tsecond "passage"\n2\t\n',
    'queries.train.tsv': '10\twhat is one\n11\twhat is two\n',
    'queries.dev.tsv': '20\twhat is three\n',
    'queries.dev.small.tsv': '20\twhat is three\n',
    'qrels.train.tsv': '10\t0\t0\t1\n11\t0\t1\t1\n',
    'qrels.dev.tsv': '20\t0\t2\t1\n',
    'qrels.dev.small.tsv': '20\t0\t2\t1\n',
  };

  it('is recognised and read', async () => {
    const data = await load(msMarco);
    expect(data.corpus.size).toBe(3);
    expect(data.queries.size).toBe(3);
    expect(data.splits).toEqual(['train', 'dev', 'dev.small']);
    expect(data.corpus.text(1)).toBe('second "passage"');
    expect(data.qrels('dev.small')).toEqual(new Map([['20', new Map([['2', 1]])]]));
    expect(
      (await load({ ...msMarco, 'collection.tsv': gzipSync(msMarco['collection.tsv']) })).corpus.size,
    ).toBe(3);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'a line without a tab',
      { 'collection.tsv': '0\ta\n1 b\n' },
      /collection\.tsv:2: 1 columns: "1 b"\n {2}help: two columns/,
    ],
    ['a third column', { 'collection.tsv': '0\ta\tb\n' }, /collection\.tsv:1: 3 columns/],
    [
      'a duplicate',
      { 'collection.tsv': '0\ta\n0\ta\n' },
      /collection\.tsv:2: document id "0" was used before, in line 1/,
    ],
    [
      'two texts of a query',
      { 'queries.dev.small.tsv': '20\tother\n' },
      /queries\.dev\.tsv:1: query id "20" was used before, in .*queries\.dev\.small\.tsv:1/,
    ],
    [
      'an unknown id',
      { 'qrels.train.tsv': '10\t0\t99\t1\n' },
      /qrels\.train\.tsv:1: unknown document id "99"/,
    ],
  ])('refuses %s', async (_, files, message) => {
    expect(await failure({ ...msMarco, ...files })).toMatch(message);
  });
});

describe('loadData', () => {
  it('says what it looked for and what it found', async () => {
    const message = await failure({ 'notes.txt': 'a', 'queries.jsonl.bak': '' });
    expect(message).toMatch(/no data set is recognised in this folder/);
    expect(message).toMatch(/BEIR: corpus\.jsonl[\s\S]*MS MARCO: collection\.tsv[\s\S]*pairs: train\.jsonl/);
    expect(message).toMatch(/found "notes\.txt", "queries\.jsonl\.bak"/);
    expect(await failure({})).toMatch(/found nothing/);
    const { 'queries.jsonl': _, ...noQueries } = beir;
    expect(await failure(noQueries)).toMatch(/no queries\.jsonl or queries\.jsonl\.gz/);
  });

  it('names a path that does not exist or holds no data', async () => {
    const folder = tempFiles({ 'a.doc': 'a,b', 'a.xlsx': 'x', 'a.json': '[]' });
    await expect(loadData(join(folder, 'absent'))).rejects.toThrow(/no such file or folder/);
    await expect(loadData(join(folder, 'a.doc'))).rejects.toThrow(
      /is no data set\n {2}help: a folder is wanted/,
    );
    await expect(loadData(join(folder, 'a.xlsx'))).rejects.toThrow(/save the table as CSV/);
    await expect(loadData(join(folder, 'a.json'))).rejects.toThrow(/jq -c/);
    await expect(loadData(join(folder, 'a.doc'))).rejects.toBeInstanceOf(DataError);
  });
});

describe('loadCorpus', () => {
  it('reads documents alone from every kind of file', async () => {
    const folder = tempFiles({
      ...beir,
      'a.tsv': 'x\tone\ny\ttwo\n',
      'a.txt': 'one\n\ntwo\n',
      'a.jsonl': '{"id":1,"contents":"one"}\n',
    });
    const list = async (path: string) => {
      const c = await loadCorpus(join(folder, path));
      return Array.from({ length: c.size }, (_, row) => `${c.id(row)}=${c.text(row)}`);
    };
    expect(await list('.')).toEqual(['d1=T one', 'd2=two', 'd3=three']);
    expect(await list('corpus.jsonl')).toEqual(['d1=T one', 'd2=two', 'd3=three']);
    expect(await list('a.tsv')).toEqual(['x=one', 'y=two']);
    expect(await list('a.txt')).toEqual(['1=one', '3=two']);
    expect(await list('a.jsonl')).toEqual(['1=one']);
  });
});

describe('memory', () => {
  it('holds 200,000 documents once', async () => {
    const documents = 200_000;
    const lines: string[] = [];
    let textBytes = 0;
    for (let i = 0; i < documents; i++) {
      const text = `document ${i} ${'lorem ipsum '.repeat(i % 20)}`;
      textBytes += text.length;
      lines.push(`{"_id":"d${i}","text":"${text}"}\n`);
    }
    const folder = tempFiles({ 'corpus.jsonl': lines.join('') });
    lines.length = 0;
    collectGarbage();
    const before = process.memoryUsage();
    let [peak, reports] = [0, 0];
    const held = await loadCorpus(folder, {
      onProgress: () => {
        // Only what is in use counts, not garbage that is yet to be collected.
        if (reports++ % 8 > 0) return;
        collectGarbage();
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before.arrayBuffers);
      },
    });
    expect(held.size).toBe(documents);
    expect(reports).toBeGreaterThan(16);
    // The texts, the ids, and at most 60 bytes of bookkeeping a document.
    expect(held.bytes).toBeLessThan(1.1 * textBytes + documents * 60);
    // Buffers never hold the file in addition to the corpus, only read blocks and spare room for growth.
    expect(peak).toBeLessThan(1.5 * held.bytes + 2 ** 24);
    expect(held.text(199_999)).toMatch(/^document 199999 lorem/);
  });
});

/** Counts of ../shared/data/README.md. */
describe.each([
  ['squad', 20_958, { train: 87_599, dev: 5_665, test: 4_905 }],
  ['nfcorpus', 3_633, { train: 2_590, dev: 324, test: 323 }],
  ['medquad', 15_809, { train: 11_585, dev: 909, test: 1_851 }],
  ['fairytaleqa', 4_094, { train: 8_548, dev: 1_025, test: 1_007 }],
  ['cranfield', 1_400, { test: 225 }],
])('%s', (name, documents, splits) => {
  const folder = sharedData(name);
  it.skipIf(folder === undefined)(
    `loads as counted${folder ? '' : ' (skipped: no shared data beside the checkout)'}`,
    async () => {
      const data = await loadData(folder!);
      expect(data.corpus.size).toBe(documents);
      expect(data.splits).toEqual(Object.keys(splits));
      for (const [split, queries] of Object.entries(splits)) {
        const examples = data.examples(split);
        expect(examples.queryRows).toHaveLength(queries);
        expect(data.qrels(split).size).toBe(queries);
        expect(examples.positives.rows.every((row) => row >= 0 && row < documents)).toBe(true);
      }
      expect(data.notes).toEqual([]);
    },
  );
});
