import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import { Corpus } from './corpus.ts';
import { trainingExamples } from './judgements.ts';
import { readJudgements, readQrels } from './qrels.ts';

function file(content: string | Uint8Array, name = 'test.tsv'): string {
  return join(tempFiles({ [name]: content }), name);
}

const plain = async (content: string | Uint8Array, name?: string) =>
  [...(await readQrels(file(content, name)))].map(([query, docs]) => [query, Object.fromEntries(docs)]);

describe('readQrels', () => {
  const wanted = [
    ['q1', { d1: 1, d2: 0 }],
    ['q2', { d1: 2 }],
  ];
  it.each([
    ['BEIR with a header', 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td1\t2\n'],
    ['BEIR without a header', 'q1\td1\t1\nq1\td2\t0\nq2\td1\t2'],
    ['columns in another order', 'score\tquery-id\tcorpus-id\n1\tq1\td1\n0\tq1\td2\n2\tq2\td1\n'],
    ['TREC with spaces', 'q1 0 d1 1\nq1 0 d2 0\nq2 0 d1  2\n'],
    ['MS MARCO with tabs', 'q1\t0\td1\t1\nq1\t0\td2\t0\nq2\t0\td1\t2\n'],
    ['three columns with spaces', 'q1 d1 1\nq1 d2 0\nq2 d1 2\n'],
    ['CRLF, byte order mark, blank lines', '\ufeffq1\td1\t1\r\n\r\nq1\td2\t0\r\nq2\td1\t2\r\n\r\n'],
    ['interleaved queries', 'q1\td1\t1\nq2\td1\t2\nq1\td2\t0\n'],
    ['repetitions', 'q1\td1\t1\nq1\td1\t1\nq1\td2\t0\nq2\td1\t1\nq2\td1\t2\n'],
  ])('reads %s', async (_, content) => {
    expect(await plain(content)).toEqual(wanted);
    expect(await plain(gzipSync(content))).toEqual(wanted);
  });

  it('reads JSONL, and keeps spaces inside ids of tab-separated files', async () => {
    const json = '{"query-id":"q1","corpus-id":"d1","score":1}\n{"query-id":7,"corpus-id":8}\n';
    expect(await plain(json, 'test.jsonl')).toEqual([
      ['q1', { d1: 1 }],
      ['7', { 8: 1 }],
    ]);
    expect(await plain('q 1\td 1\t1\n')).toEqual([['q 1', { 'd 1': 1 }]]);
  });

  it('reads decimal grades', async () => {
    const grades = ['1', '+2', '-1', '0.5', '.5', '2.', '1e1', '5E-1'];
    const content = grades.map((grade, i) => `q\td${i}\t${grade}\n`).join('');
    expect(Object.values((await plain(content))[0]![1]!)).toEqual([1, 2, -1, 0.5, 0.5, 2, 10, 0.5]);
  });

  it('refuses grades of JSON that are no numbers of float32', async () => {
    for (const grade of ['1e39', '-1e39', '1e999', '"one"', 'true', '[1]']) {
      await expect(
        plain(`{"query-id":"q1","corpus-id":"d1","score":${grade}}\n`, 'test.jsonl'),
      ).rejects.toThrow(/test\.jsonl:1: field "score" should be a number below 3\.4e38, found/);
    }
  });

  it.each([
    ['', /test\.tsv: holds no judgement/],
    ['query-id\tcorpus-id\tscore\n', /holds no judgement/],
    ['q1\td1\n', /:1: 2 columns: "q1\\td1"\n {2}help: columns are query id, document id, grade/],
    ['q1\td1\t1\nq1 d1 1\n', /:2: 1 column: "q1 d1 1"/],
    ['q1\td1\t1\nq1\td1\n', /:2: 2 columns/],
    ['q1\td1\t1\nq1\td1\t1\t1\n', /:2: 4 columns/],
    ['q1\td1\tone\n', /:1: the grade "one" is not a number/],
    ['q1\td1\t\n', /:1: the grade "" is not a number/],
    ['q1\td1\t1e39\n', /:1: the grade "1e39" is not a number/],
    ...['Infinity', '0x10', '0b11', '0o7', '1_0', '+-1', '.', '1e'].map((grade): [string, RegExp] => [
      `q1\td1\t${grade}\n`,
      /:1: the grade ".*" is not a number/,
    ]),
    ['q1\td1\t1\n\td1\t1\n', /:2: an id is empty/],
    ['q1\td1\t1\nquery-id\tcorpus-id\tscore\n', /:2: the grade "score" is not a number/],
  ])('refuses %j', async (content, message) => {
    await expect(plain(content)).rejects.toThrow(message);
    await expect(plain(content)).rejects.toBeInstanceOf(DataError);
  });
});

describe('readJudgements', () => {
  let queries: Corpus;
  let corpus: Corpus;
  beforeAll(async () => {
    queries = await Corpus.from(['q1', 'q2', 'q3'].map((id) => ({ id, text: id })));
    corpus = await Corpus.from(['d1', 'd2', 'd3', 'Apple', 'cherry'].map((id) => ({ id, text: id })));
  });
  const read = (
    content: string,
    unknownIds?: 'error' | 'skip',
    missingDocuments?: 'error' | 'count' | 'drop',
  ) => readJudgements([file(content)], { queries, corpus, unknownIds, missingDocuments });

  it('groups by query in order of appearance, and keeps grades', async () => {
    const { queryRows, judged, skipped } = await read('q3 d2 1\nq1 d3 2\nq3 d1 0\nq3 d2 1\nq1 d1 -1\n');
    expect([...queryRows]).toEqual([2, 0]);
    expect([...judged.offsets]).toEqual([0, 2, 4]);
    expect([...judged.rows]).toEqual([1, 0, 2, 0]);
    expect([...judged.grades]).toEqual([1, 0, 2, -1]);
    expect(skipped).toBe(0);
  });

  it('splits at grade 0 into positives and negatives', async () => {
    const examples = trainingExamples(await read('q3 d2 1\nq2 d1 0\nq1 d3 2\nq3 d1 0\nq1 d2 0.5\n'));
    expect([...examples.queryRows]).toEqual([2, 0]); // q2 has no positive
    expect([...examples.positives.offsets]).toEqual([0, 1, 3]);
    expect([...examples.positives.rows]).toEqual([1, 2, 1]);
    expect([...examples.positives.grades]).toEqual([1, 2, 0.5]);
    expect([...examples.negatives!.offsets]).toEqual([0, 1, 1]);
    expect([...examples.negatives!.rows]).toEqual([0]);
    expect(trainingExamples(await read('q3 d2 1\n')).negatives).toBeUndefined();
  });

  it.each([
    [
      'q1 d8 1\nq1 d9 1\n',
      /:1: unknown document id "d8"\n {2}help: document ids look like "d1"; none of the 2/,
    ],
    ['q9 d1 1\n', /:1: unknown query id "q9"\n {2}help: query ids look like "q1"/],
    ['Q1 d1 1\n', /:1: unknown query id "Q1"\n {2}help: did you mean "q1"\?/],
    ['q1 apple 1\n', /:1: unknown document id "apple"\n {2}help: did you mean "Apple"\?/],
    ['q1 chery 1\n', /:1: unknown document id "chery"\n {2}help: did you mean "cherry"\?/],
    ['d1 q1 1\n', /:1: unknown query id "d1"\n {2}help: the columns seem to be swapped/],
    ['d1 d2 1\n', /:1: unknown query id "d1"\n {2}help: "d1" is the id of a document/],
    [
      'q1 d1 1\nq2 d1 1\nq1 d1 2\n',
      /:3: query "q1" and document "d1" have another grade here than in line 1/,
    ],
  ])('refuses %j', async (content, message) => {
    await expect(read(content)).rejects.toThrow(message);
    await expect(read(content)).rejects.toBeInstanceOf(DataError);
  });

  it('refuses, drops or counts judgements of documents that are not in the corpus', async () => {
    const content = 'q1 d1 1\nq1 d9 1\nq2 d9 0\n';
    for (const policies of [[undefined, 'error'], ['error']] as const)
      await expect(read(content, ...policies)).rejects.toThrow(
        /test\.tsv:2: unknown document id "d9"\n {2}help: document ids look like "d1"; missingDocuments: 'count'/,
      );
    for (const dropped of [await read(content, undefined, 'drop'), await read(content, 'skip')])
      expect(dropped).toMatchObject({ skipped: 2, missing: undefined, missingNote: undefined });
    const counted = await read(content);
    expect(counted.skipped).toBe(0);
    expect(counted.missing).toEqual(
      new Map([
        [0, new Map([['d9', 1]])],
        [1, new Map([['d9', 0]])],
      ]),
    );
    expect(counted.missingNote).toMatch(
      /^2 judgements name documents .* \(the first is "d9", .*test\.tsv:2\)/,
    );
    expect((await read(content, undefined, 'count')).missing).toEqual(counted.missing);
    await expect(read('q1 d1 1\nq1 d9 1\nq1 d9 2\n')).rejects.toThrow(/:3: .* have another grade here/);
  });

  it('skips and counts unknown ids when asked to', async () => {
    const judgements = await read('q1 d1 1\nq9 d1 1\nq2 d9 1\n', 'skip');
    expect(judgements.skipped).toBe(2);
    expect([...judgements.queryRows]).toEqual([0]);
    await expect(read('q9 d1 1\n', 'skip')).rejects.toThrow(
      /none of its 1 judgements names a known query and document/,
    );
  });
});
