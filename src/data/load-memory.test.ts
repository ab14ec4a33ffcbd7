import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { collectGarbage } from '../../test/collect-garbage.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { DataInMemory, JudgementRecord, TextRecord } from './data-in-memory.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import type { PairRecord } from './pairs.ts';
import type { RetrievalData } from './retrieval-data.ts';
import { loadScoredPairs } from './scored-pairs.ts';
import { loadTexts } from './texts.ts';

const lines = (records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('');

/** Everything that training and evaluation can see of data. */
const seen = (data: RetrievalData) => ({
  documents: [...data.corpus.texts()].map((text, row) => [data.corpus.id(row), text]),
  queries: [...data.queries.texts()].map((text, row) => [data.queries.id(row), text]),
  splits: data.splits.map((split) => [split, data.examples(split)]),
  notes: data.notes,
});

async function* slowly<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) {
    await Promise.resolve();
    yield item;
  }
}

const pairs = Array.from({ length: 400 }, (_, i) => ({
  question: `how is number ${i} made`,
  positive: i % 3 === 0 ? [`made of ${i}`, { title: 'T', text: `by ${i}` }] : `made of ${i}`,
  negative_1: `made of ${i + 1}`,
  scores: i % 3 === 0 ? [3, 2, 0.5] : [3, 0.5],
}));

describe('pairs in memory', () => {
  it.each<[string, () => DataInMemory]>([
    ['an array', () => ({ pairs })],
    ['a generator', () => ({ pairs: pairs.values() })],
    ['an asynchronous generator', () => ({ pairs: slowly(pairs) })],
  ])('from %s are what they are from a file', async (_, inMemory) => {
    const fromFile = await loadData(join(tempFiles({ '(memory).jsonl': lines(pairs) }), '(memory).jsonl'));
    const data = await loadData(inMemory());
    expect(data.splits).toEqual(['train', 'dev', 'test']);
    expect(seen(data)).toEqual(seen(fromFile));
    expect(data.examples('train').negatives?.scores).toBeDefined();
  });

  it('have the splits and the name that are given', async () => {
    const [dev, test] = [pairs.slice(300, 350), pairs.slice(350)];
    const folder = tempFiles({
      'train.jsonl': lines(pairs.slice(0, 300)),
      'dev.jsonl': lines(dev),
      'test.jsonl': lines(test),
    });
    const data = await loadData({ pairs: pairs.slice(0, 300), dev: slowly(dev), test, name: 'a/b.jsonl' });
    expect(seen(data)).toEqual(seen(await loadData(folder)));
    expect(data.name).toBe('a/b.jsonl');
    const held = await loadData({ pairs, dev }, { testFraction: 0 });
    expect(held.splits).toEqual(['train', 'dev']);
    expect(held.name).toBe('(memory)');
  });

  it('are read once, one at a time, and closed when one is wrong', async () => {
    let [made, closed] = [0, false];
    function* endless(): Generator<PairRecord> {
      try {
        for (;;) yield { query: made === 1000 ? '' : `q${made++}`, positive: 'p' };
      } finally {
        closed = true;
      }
    }
    await expect(loadData({ pairs: endless() })).rejects.toThrow('pairs[1000]: the query is empty');
    expect(closed).toBe(true);
    expect(made).toBe(1000);
  });
});

const documents: TextRecord[] = [
  { id: 'd1', title: 'T', text: 'one' },
  { _id: 2, text: 'two' },
  { id: 'd3', title: null, text: 'three' },
];
const queries: TextRecord[] = [
  { id: 'q1', text: 'first?' },
  { id: 'q2', text: 'second?' },
];
const judged: JudgementRecord[] = [
  { queryId: 'q1', docId: 'd1', grade: 2 },
  { queryId: 'q1', docId: 'd3', grade: 0 },
];
const validation: JudgementRecord[] = [{ queryId: 'q2', docId: 2 }];
const whole = (more: Partial<Record<'documents' | 'queries' | 'judgements', unknown>> = {}) =>
  ({ documents, queries, judgements: { train: judged, validation }, ...more }) as DataInMemory;

describe('documents, queries and judgements in memory', () => {
  it('are what they are in a BEIR folder', async () => {
    const folder = tempFiles({
      'corpus.jsonl': lines([{ _id: 'd1', title: 'T', text: 'one' }, ...documents.slice(1)]),
      'queries.jsonl': lines(queries),
      'qrels/train.tsv': 'q1\td1\t2\nq1\td3\t0\n',
      'qrels/dev.tsv': 'q2\t2\t1\n',
    });
    const fromFiles = await loadData(folder);
    const data = await loadData(whole({ documents: slowly(documents) }));
    expect(seen(data)).toEqual(seen(fromFiles));
    expect(data.qrels('train')).toEqual(fromFiles.qrels('train'));
    const asMaps = { train: fromFiles.qrels('train'), dev: fromFiles.qrels('dev') };
    expect(seen(await loadData(whole({ judgements: asMaps })))).toEqual(seen(fromFiles));
  });

  it('can be read in part, with the fingerprint of the whole', async () => {
    const all = await loadData(whole());
    const dev = await loadData(whole(), { splits: ['dev'] });
    expect(dev.splits).toEqual(['dev']);
    expect(dev.fingerprint).toBe(all.fingerprint);
    const unknown = { train: [...judged, { queryId: 'q9', docId: 'd1' }] };
    const skipped = await loadData(whole({ judgements: unknown }), { unknownIds: 'skip' });
    expect(skipped.notes).toEqual(['split train: left out 1 judgement of unknown ids']);
  });
});

it('judgements in memory of absent documents are counted, and are part of the fingerprint', async () => {
  const absent = whole({ judgements: { train: [...judged, { queryId: 'q1', docId: 'd9' }] } });
  const data = await loadData(absent);
  expect(data.qrels('train').get('q1')!.get('d9')).toBe(1);
  expect(data.notes).toEqual([expect.stringMatching(/"d9", judgements\.train\[2\]/)]);
  const dropped = await loadData(absent, { missingDocuments: 'drop' });
  expect(dropped.qrels('train').get('q1')!.has('d9')).toBe(false);
  expect(dropped.fingerprint).not.toBe(data.fingerprint);
  await expect(loadData(absent, { missingDocuments: 'error' })).rejects.toThrow(
    /^judgements\.train\[2\]: unknown document id "d9"/,
  );
});

it('the fingerprint of data in memory is that of its content', async () => {
  const fingerprint = async (data: DataInMemory, options?: LoadOptions) =>
    (await loadData(data, options)).fingerprint;
  const short = pairs.slice(0, 50);
  const first = await fingerprint({ pairs: short });
  expect(first).toMatch(/^[0-9a-f]{16}$/);
  expect(await fingerprint({ pairs: slowly(short), name: 'other name' })).toBe(first);
  const others = [
    short.slice(1),
    short.toReversed(),
    short.map((pair, i) => (i === 7 ? { ...pair, question: `${pair.question}?` } : pair)),
    short.map((pair, i) => (i === 7 ? { ...pair, scores: [3, 0.25] } : pair)),
  ];
  const found = new Set([first, ...(await Promise.all(others.map((pairs) => fingerprint({ pairs }))))]);
  found.add(await fingerprint({ pairs: short.slice(0, 40), dev: short.slice(40) }));
  found.add(await fingerprint(whole()));
  found.add(await fingerprint(whole({ judgements: { train: [{ queryId: 'q1', docId: 'd1', grade: 1 }] } })));
  found.add(await fingerprint(whole({ judgements: { train: [{ queryId: 'q1', docId: 'd1', grade: 2 }] } })));
  found.add(await fingerprint(whole({ judgements: { dev: [{ queryId: 'q1', docId: 'd1', grade: 2 }] } })));
  expect(found.size).toBe(10);
});

const texts = ['one', 'two words', { title: 'T', text: 'three' }];

it('texts in memory are what they are in a file', async () => {
  const records = texts.map((text) => (typeof text === 'string' ? { text } : text));
  const fromFile = await loadTexts(join(tempFiles({ 'a.jsonl': lines(records) }), 'a.jsonl'));
  const list = ({ corpus }: { corpus: RetrievalData['corpus'] }) =>
    [...corpus.texts()].map((text, row) => [corpus.id(row), text]);
  const inMemory = await loadTexts({ texts: slowly(texts), name: 'notes' });
  expect(list(inMemory)).toEqual(list(fromFile));
  expect(inMemory.name).toBe('notes');
  expect(inMemory.fingerprint).not.toBe((await loadTexts({ texts: texts.slice(1) })).fingerprint);
  // Documents of other data too.
  expect(list(await loadTexts(whole()))[0]).toEqual(['d1', 'T one']);
  expect([...(await loadTexts({ pairs: pairs.slice(0, 2) })).corpus.texts()]).toContain('made of 1');
});

it('scored pairs in memory are what they are in a file', async () => {
  const scoredPairs = pairs.map(({ question }, i) => ({
    sentence1: question,
    sentence2: `made of ${i}`,
    score: (i % 5) / 5,
  }));
  const file = join(tempFiles({ '(memory).jsonl': lines(scoredPairs) }), '(memory).jsonl');
  const inMemory = await loadScoredPairs({ scoredPairs: slowly(scoredPairs) });
  expect(seen(inMemory)).toEqual(seen(await loadScoredPairs(file)));
  const withDev = await loadScoredPairs({ scoredPairs, dev: scoredPairs.slice(0, 9) });
  expect(withDev.examples('dev').queryRows).toHaveLength(9);
  expect(withDev.fingerprint).not.toBe(inMemory.fingerprint);
});

describe('wrong data in memory', () => {
  const good = { query: 'a', positive: 'b' };
  it.each<[string, unknown, RegExp]>([
    ['an empty array', { pairs: [] }, /^pairs: holds no record\n {2}help: a generator gives its items once/],
    ['an empty dev split', { pairs: [good], dev: [] }, /^dev: holds no record/],
    [
      'an item that is no object',
      { pairs: [good, 'text'] },
      /^pairs\[1\]: expected an object, found the string "text"/,
    ],
    ['an array as item', { pairs: [['a', 'b']] }, /^pairs\[0\]: expected an object, found an array of 2/],
    ['no positive', { pairs: [good, { query: 'a' }] }, /^pairs\[1\]: no positive column/],
    [
      'a number as query',
      { pairs: [{ ...good, query: 1 }] },
      /^pairs\[0\]: field "query" should be a string/,
    ],
    ['a wrong item of dev', { pairs: [good], dev: [{}] }, /^dev\[0\]: no query column/],
    [
      'scores of a wrong number',
      { pairs: [{ ...good, scores: [1, 2] }] },
      /^pairs\[0\]: 2 scores for 1 texts/,
    ],
    ['no document', whole({ documents: [] }), /^documents: holds no record/],
    ['no query', whole({ queries: [] }), /^queries: holds no record/],
    [
      'a document without an id',
      whole({ documents: [{ text: 'x' }] }),
      /^documents\[0\]: no id column\n {2}help: the record has .*; understood are _id, id, /,
    ],
    [
      'a duplicate document',
      whole({ documents: [...documents, { id: 'd3', text: 'x' }] }),
      /^documents\[3\]: document id "d3" was used before, in documents\[2\]/,
    ],
    [
      'a duplicate query',
      whole({ queries: [...queries, queries[0]] }),
      /^queries\[2\]: query id "q1" was used before, in queries\[0\]/,
    ],
    [
      'an unknown id',
      whole({ judgements: { train: [...judged, { queryId: 'q9', docId: 'd1' }] } }),
      /^judgements\.train\[2\]: unknown query id "q9"/,
    ],
    [
      'two grades',
      whole({ judgements: { train: judged, validation: [judged[0], { ...judged[0], grade: 1 }] } }),
      /^judgements\.validation\[1\]: query "q1" and document "d1" have another grade here than in judgements\.validation\[0\]/,
    ],
    ['no judgement', whole({ judgements: { train: [] } }), /^judgements\.train: holds no record/],
    [
      'a grade that is no number',
      whole({ judgements: { train: [{ ...judged[0], grade: 'high' }] } }),
      /^judgements\.train\[0\]: field "grade" should be a number below 3\.4e38, found the string "high"/,
    ],
  ])('%s: the error names the item', async (_, data, message) => {
    const error = await loadData(data as DataInMemory).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toMatch(message);
    expect((error as DataError).line).toBeUndefined();
  });

  it.each<[string, unknown, RegExp]>([
    ['a number', 7, /data should be a path or an object, found the number 7/],
    ['nothing', undefined, /data should be a path or an object, found nothing/],
    ['an array', [good], /data should be a path or an object, found an array of 1\n {2}help: give \{ pairs/],
    ['an empty object', {}, /data of no known kind: an empty object/],
    ['a misspelt kind', { pair: [good] }, /data of no known kind: fields pair\. Did you mean 'pairs'\?/],
    [
      'a misspelt field',
      { pairs: [good], devs: [] },
      /data with pairs takes no field devs\. Did you mean 'dev'\?/,
    ],
    ['two kinds', { pairs: [good], documents }, /data with pairs takes no field documents/],
    ['a part', { documents, queries }, /data with documents needs judgements too/],
    [
      'a string for records',
      { pairs: 'pairs.jsonl' },
      /pairs should be an iterable of records, found the string/,
    ],
    ['judgements without splits', whole({ judgements: judged }), /judgements should be an object of splits/],
    [
      'no iterable as judgements',
      whole({ judgements: { train: 7 } }),
      /judgements\.train should be an iterable/,
    ],
    ['texts', { texts }, /data with texts has no queries.*\n {2}help: .*method: 'crop'/],
    ['scored pairs', { scoredPairs: [] }, /data with scoredPairs has no queries.*\n.*method: 'scored-pairs'/],
  ])('%s: the error says what to give', async (_, data, message) => {
    const error = await loadData(data as DataInMemory).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).message).toMatch(message);
  });

  it('of another kind than the method reads', async () => {
    await expect(loadScoredPairs({ pairs })).rejects.toThrow(/give \{ scoredPairs/);
    await expect(
      loadScoredPairs({ scoredPairs: [{ sentence1: 'a', sentence2: '', score: 1 }] }),
    ).rejects.toThrow(/^scoredPairs\[0\]: field "sentence2" is empty/);
    await expect(loadTexts({ texts: ['a', 7 as unknown as string] })).rejects.toThrow(
      /^texts\[1\]: expected an object, found the number 7/,
    );
    await expect(loadTexts({ texts: [] })).rejects.toThrow(/^texts: holds no record/);
  });
});

it('memory: texts are held once, as those of a file', async () => {
  const count = 100_000;
  let textBytes = 0;
  function* generated() {
    for (let i = 0; i < count; i++) {
      const text = `document ${i} ${'lorem ipsum '.repeat(i % 20)}`;
      textBytes += text.length;
      yield text;
    }
  }
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  const { corpus } = await loadTexts({ texts: generated() });
  expect(corpus.size).toBe(count);
  expect(corpus.bytes).toBeLessThan(1.1 * textBytes + count * 60);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1.5 * corpus.bytes + 2 ** 24);
});
