import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import { readParquet } from './parquet.ts';
import type { RetrievalData } from './retrieval-data.ts';

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const ALL_TRAIN = { devFraction: 0, testFraction: 0 };

const load = (records: readonly unknown[] | string, options: LoadOptions = ALL_TRAIN) => {
  const content =
    typeof records === 'string' ? records : records.map((record) => JSON.stringify(record)).join('\n');
  return loadData(join(tempFiles({ 'pairs.jsonl': content }), 'pairs.jsonl'), options);
};

/** Examples as texts. */
function spell(data: RetrievalData, split = 'train') {
  const { queryRows, positives, negatives } = data.examples(split);
  const list = (rows: Int32Array, offsets: Uint32Array, i: number) =>
    [...rows.subarray(offsets[i], offsets[i + 1])].map((row) => data.corpus.text(row));
  return [...queryRows].map((row, i) => [
    data.queries.text(row),
    list(positives.rows, positives.offsets, i),
    ...(negatives === undefined ? [] : [list(negatives.rows, negatives.offsets, i)]),
  ]);
}

describe('pairs', () => {
  it('become queries and a corpus of distinct texts', async () => {
    const data = await load([
      { query: 'a', positive: 'A' },
      { query: 'b', positive: ['B', 'A'], negative: 'C' },
      { query: 'a', positive: 'A2', negative: ['C', 'B'] },
      { query: 'a', positive: 'A' },
    ]);
    expect(spell(data)).toEqual([
      ['a', ['A', 'A2'], ['C', 'B']],
      ['b', ['B', 'A'], ['C']],
    ]);
    expect([...data.corpus.texts()]).toEqual(['A', 'B', 'C', 'A2']);
    expect(['d0', 'd3', 'd4'].map((id) => data.corpus.row(id))).toEqual([0, 3, undefined]);
    expect(data.queries.id(1)).toBe('q1');
    expect([...data.positiveSets('train')(0)]).toEqual([0, 3]);
    // A mined negative was not judged by a person.
    expect(data.qrels('train')).toEqual(
      new Map([
        [
          'q0',
          new Map([
            ['d0', 1],
            ['d3', 1],
          ]),
        ],
        [
          'q1',
          new Map([
            ['d1', 1],
            ['d0', 1],
          ]),
        ],
      ]),
    );
    expect(data.notes).toEqual([]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    [
      'sentence-transformers',
      { anchor: 'q', positive: 'p', negative_1: 'n1', negative_2: 'n2' },
      ['anchor as query', 'negative_1 as negative'],
    ],
    ['FlagEmbedding', { query: 'q', pos: ['p'], neg: ['n1', 'n2'] }, ['pos as positive', 'neg as negative']],
    [
      'Tevatron',
      {
        query: 'q',
        positive_passages: [{ docid: '1', title: '', text: 'p' }],
        negative_passages: [{ text: 'n1' }, { text: 'n2' }],
      },
      ['positive_passages as positive'],
    ],
    [
      'question and answer',
      { question: 'q', answer: 'p', negatives: ['n1', 'n2'] },
      ['question as query', 'answer as positive'],
    ],
  ])('understand the names of %s', async (_, record, mapping) => {
    const data = await load([record]);
    expect(spell(data)).toEqual([['q', ['p'], ['n1', 'n2']]]);
    for (const entry of mapping) expect(data.notes.join()).toContain(entry);
  });

  it('match columns by name, never by order, and report unused ones', async () => {
    const data = await load([{ negativ: 'typo', positive: 'p', id: 3, query: 'q' }]);
    expect(spell(data)).toEqual([['q', ['p']]]);
    expect(data.notes).toEqual(['columns not used: negativ, id']);
  });

  it('take the columns that are named', async () => {
    const record = { a: 'q', b: ['p'], c: 'n', query: 'not this' };
    const data = await load([record], {
      ...ALL_TRAIN,
      columns: { query: 'a', positive: 'b', negative: 'c' },
    });
    expect(spell(data)).toEqual([['q', ['p'], ['n']]]);
  });

  it('put title and text together', async () => {
    expect(spell(await load([{ query: 'q', positive: [{ title: 'T', text: 'p' }] }]))).toEqual([
      ['q', ['T p']],
    ]);
  });

  it("keep a teacher's scores beside their documents", async () => {
    const data = await load([
      { query: 'a', positive: 'A', negative: ['B', 'C'], scores: [9, 2, 1] },
      { query: 'b', pos: ['B'], neg: ['A', 'C'], neg_scores: [0.5, -0.5] },
      { query: 'c', positive: 'C' },
    ]);
    const { positives, negatives } = data.examples('train');
    expect([...positives.scores!]).toEqual([9, Number.NaN, Number.NaN]);
    expect([...negatives!.scores!]).toEqual([2, 1, 0.5, -0.5]);
    expect([...positives.grades]).toEqual([1, 1, 1]);
  });

  it('count a text that is positive and negative as positive, and say so', async () => {
    const data = await load([
      { query: 'a', positive: 'A', negative: ['A', 'B'] },
      { query: 'a', positive: 'B' },
    ]);
    expect(spell(data)).toEqual([['a', ['A', 'B']]]);
    expect(data.notes).toEqual(['2 texts were positive and negative of one query: they count as positive']);
  });

  it.each<[unknown[] | string, RegExp]>([
    ['', /pairs\.jsonl: holds no pair/],
    ['{"query":"a","positive":"A"}\n{"query":', /:2: bad JSON/],
    [
      [{ query: 'a', positive: 'A' }, { query: 'a' }],
      /:2: no positive column\n {2}help: the record has "query"; understood are positive, positives/,
    ],
    [[{ positive: 'a', text: 1 }], /:1: no query column\n {2}help: .*columns: \{ query: 'NAME' \}/],
    [[{ query: 'a', positive: null }], /:1: no positive column/],
    [[{ query: 1, positive: 'a' }], /:1: field "query" should be a string, found the number 1/],
    [[{ query: ' ', positive: 'a' }], /:1: the query is empty/],
    [[{ query: 'a', positive: [] }], /:1: "positive" is an empty list/],
    [[{ query: 'a', positive: ['b', ''] }], /:1: field "positive" holds an empty text/],
    [
      [{ query: 'a', positive: ['b', 7] }],
      /:1: field "positive" should be a string, a list .*found the number 7/,
    ],
    [
      [{ query: 'a', positive: 'b', negative: [['c']] }],
      /:1: field "negative" should be .*found an array of 1/,
    ],
    [[{ question: 'a', anchor: 'b', positive: 'c' }], /:1: both "anchor" and "question" could be the query/],
    [[{ query: 'a', positive: 'b', scores: [1, 2] }], /:1: 2 scores for 1 texts/],
    [
      [{ query: 'a', positive: 'b', scores: ['high'] }],
      /:1: field "scores" should be a number or a list of numbers/,
    ],
    [[{ query: 'a', positive: 'b', scores: [1], pos_scores: [1] }], /:1: scores are given twice/],
    [[{ query: 'a', positive: 'b', neg: ['c'], neg_scores: [1, 2] }], /:1: 2 scores for 1 negatives/],
  ])('refuse %j', async (records, message) => {
    await expect(load(records)).rejects.toThrow(message);
    await expect(load(records)).rejects.toBeInstanceOf(DataError);
  });
});

describe('splits of pairs', () => {
  const many = Array.from({ length: 2000 }, (_, i) => ({
    query: `query ${i}`,
    positive: `answer ${i % 500}`,
  }));
  const queriesOf = (data: RetrievalData, split: string) =>
    spell(data, split).map(([query]) => query as string);

  it('are held out by a hash of the query text: the same whatever the order and the size of the file', async () => {
    const whole = await load(many, {});
    expect(whole.splits).toEqual(['train', 'dev', 'test']);
    for (const split of ['dev', 'test']) {
      const share = queriesOf(whole, split).length / many.length;
      expect(share).toBeGreaterThan(0.035);
      expect(share).toBeLessThan(0.065);
    }
    expect(new Set(whole.splits.flatMap((split) => queriesOf(whole, split))).size).toBe(2000);
    const part = await load(many.slice(500).reverse(), {});
    for (const split of whole.splits) {
      const wholeQueries = queriesOf(whole, split);
      expect(queriesOf(part, split).every((query) => wholeQueries.includes(query))).toBe(true);
    }
    expect(whole.notes[0]).toMatch(
      /^split dev: \d+ queries held out of the training split by a hash of their text/,
    );
  });

  it('never part one query', async () => {
    const twice = await load(
      [...many, ...many.map(({ query }) => ({ query, positive: `other ${query}` }))],
      {},
    );
    expect(new Set(twice.splits.flatMap((split) => queriesOf(twice, split))).size).toBe(2000);
    expect(twice.splits.flatMap((split) => queriesOf(twice, split))).toHaveLength(2000);
  });

  it('have the shares that are asked for', async () => {
    expect((await load(many, ALL_TRAIN)).splits).toEqual(['train']);
    const data = await load(many, { devFraction: 0.5, testFraction: 0 });
    expect(Math.abs(queriesOf(data, 'dev').length - 1000)).toBeLessThan(100);
    expect(data.splits).toEqual(['train', 'dev']);
    for (const devFraction of [-0.1, 1, Number.NaN]) {
      await expect(load(many, { devFraction })).rejects.toBeInstanceOf(UsageError);
    }
    await expect(load(many, { devFraction: 0.5, testFraction: 0.5 })).rejects.toThrow(
      /leave nothing to train on/,
    );
  });

  it('come from files where there are some; only the missing ones are held out', async () => {
    const lines = (records: readonly unknown[]) => records.map((record) => JSON.stringify(record)).join('\n');
    const data = await loadData(
      tempFiles({
        'train.jsonl': lines(many.slice(100)),
        'validation-00000-of-00001.jsonl': lines(many.slice(0, 100)),
      }),
    );
    expect(data.splits).toEqual(['train', 'dev', 'test']);
    expect(queriesOf(data, 'dev')).toHaveLength(100);
    expect(data.notes.filter((note) => note.startsWith('split'))).toHaveLength(1);
    const testOnly = await loadData(tempFiles({ 'data/test.jsonl': lines(many) }));
    expect(testOnly.splits).toEqual(['test']);
    expect(queriesOf(testOnly, 'test')).toHaveLength(2000);
  });

  it('add a note if a split is empty', async () => {
    const data = await load([{ query: 'a', positive: 'A' }], {});
    expect(data.notes.join('\n')).toMatch(
      /split test: no query of pairs fell into it \(testFraction 0\.05\)/,
    );
  });
});

describe('Parquet', () => {
  it.each(['none', 'snappy', 'gzip', 'zstd', 'brotli'])('pairs are read, compressed by %s', async (codec) => {
    const data = await loadData(fixture(`pairs-${codec}.parquet`), ALL_TRAIN);
    expect(data.queries.size).toBe(100);
    const spelled = spell(data);
    expect(spelled[0]).toEqual(['query number 0 — ünïcödé', ['answer 0'], []]);
    expect(spelled[99]).toEqual(['query number 99 — ünïcödé', ['answer 19'], ['wrong 99', 'answer 20']]);
    expect(data.notes).toEqual([
      'columns: anchor as query, negatives as negative',
      'columns not used: embedding',
    ]);
  });

  it('folders of a corpus, queries and judgements are read', async () => {
    const data = await loadData(fixture('beir-parquet'));
    expect([...data.corpus.texts()]).toEqual(['A first', 'second', 'third']);
    expect(data.qrels('test')).toEqual(
      new Map([
        ['7', new Map([['a', 1]])],
        [
          '8',
          new Map([
            ['c', 2],
            ['b', 0],
          ]),
        ],
      ]),
    );
  });

  it('rows carry their number, across row groups', async () => {
    const lines: number[] = [];
    for await (const { line } of readParquet(fixture('pairs-snappy.parquet'))) lines.push(line);
    expect(lines).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  it('damage is reported as such, and missing columns by name', async () => {
    const whole = readFileSync(fixture('pairs-snappy.parquet'));
    const folder = tempFiles({ 'cut.parquet': whole.subarray(0, 3000), 'tiny.parquet': 'PAR1' });
    await expect(loadData(join(folder, 'cut.parquet'))).rejects.toThrow(
      /cut\.parquet: damaged Parquet footer/,
    );
    await expect(loadData(join(folder, 'tiny.parquet'))).rejects.toBeInstanceOf(DataError);
    const wrong = loadData(fixture('beir-parquet/queries/queries-00000-of-00001.parquet'));
    await expect(wrong).rejects.toThrow(/parquet:1: no query column\n {2}help: the record has "_id", "text"/);
  });

  it('a damaged footer gives a DataError or a clean load', async () => {
    const whole = readFileSync(fixture('pairs-snappy.parquet'));
    const footerStart = whole.length - 8 - whole.readUInt32LE(whole.length - 8);
    const file = join(tempFiles(), 'f.parquet');
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const footer = damage(whole.subarray(footerStart, -8), i);
      const end = Buffer.from('\0\0\0\0PAR1');
      end.writeUInt32LE(footer.length);
      writeFileSync(file, Buffer.concat([whole.subarray(0, footerStart), footer, end]));
      await loadData(file, ALL_TRAIN).catch((error: unknown) => {
        refused++;
        if (!(error instanceof DataError)) throw error;
      });
    }
    expect(refused).toBeGreaterThan(150);
    expect(refused).toBeLessThan(300);
  });
});

describe('label column', () => {
  const rows = (name: string, labels: readonly unknown[]) =>
    labels.map((label, i) => ({ query: `q${i >> 1}`, passage: `p${i}`, [name]: label }));
  const load = (pairs: readonly object[]) =>
    loadData({ pairs } as unknown as Parameters<typeof loadData>[0], ALL_TRAIN);

  it.each(['label', 'score', 'relevance', 'grade'])('%s: 1 makes positives, 0 negatives', async (name) => {
    const data = await load(rows(name, [1, 0, 0, 1, true, false, 0, 0]));
    const { queryRows, positives, negatives } = data.examples('train');
    const texts = (list: ArrayLike<number>) => Array.from(list, (row) => data.corpus.text(row));
    // The last query has no right passage, and so is no example.
    expect([...queryRows]).toEqual([0, 1, 2]);
    expect(texts(positives.rows)).toEqual(['p0', 'p3', 'p4']);
    expect(texts(negatives!.rows)).toEqual(['p1', 'p2', 'p5']);
    expect(data.notes.join()).not.toContain('not used');
  });

  it('is refused where it is no label', async () => {
    await expect(load(rows('score', [1, 0.7]))).rejects.toThrow(
      /pairs\[1\].*"score" should be a label.*"0\.7"/s,
    );
    const both = [{ query: 'a', positive: 'b', negative: 'c', label: 0 }];
    await expect(load(both)).rejects.toThrow('label 0 beside negatives');
  });
});

describe('scores of a pair in several records', () => {
  const pair = { query: 'a', positive: 'b', negative: 'c' };
  const load = (pairs: readonly object[]) =>
    loadData({ pairs } as unknown as Parameters<typeof loadData>[0], ALL_TRAIN);

  it.each([
    [[pair, { ...pair, scores: [9, -2] }]],
    [[{ ...pair, scores: [9, -2] }, pair]],
    [
      [
        { ...pair, scores: [9, -2] },
        { ...pair, scores: [9, -2] },
      ],
    ],
  ])('a record without scores erases none: %j', async (pairs) => {
    const { positives, negatives } = (await load(pairs)).examples('train');
    expect([...positives.scores!, ...negatives!.scores!]).toEqual([9, -2]);
  });

  it('two different scores are an error with both places and values', async () => {
    const pairs = [
      { query: 'x', positive: 'y' },
      pair,
      { ...pair, scores: [9, -2] },
      { ...pair, scores: [9, 0] },
    ];
    await expect(load(pairs)).rejects.toThrow(
      /pairs\[3\]: two scores of one pair: 0 here, and -2 in pairs\[2\]/,
    );
  });
});
