import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { TokenStore } from '../text/token-store.ts';
import { trainRetriever } from './train-retriever.ts';
import { unknownTextsNote } from './unknown-texts.ts';

const store = (texts: readonly (readonly number[])[]): TokenStore =>
  TokenStore.of(
    Int32Array.from(texts, (ids) => ids.length),
    Uint16Array.from(texts.flat()),
  );
const special = { unk: 1, cls: 2, sep: 3 };

it('counts the texts of unknown tokens alone, whatever special tokens stand around them', () => {
  const texts = store([[2, 1, 3], [2, 1, 1, 3], [1], [2, 1, 7, 3], [2, 3], []]);
  expect(unknownTextsNote('queries', texts, special)).toMatch(
    /^3 of 6 queries consist of unknown tokens alone/,
  );
});

it('is silent about a few such texts, about none, and without an unknown token', () => {
  const known = Array.from({ length: 99 }, () => [2, 7, 3]);
  expect(unknownTextsNote('queries', store([...known, [2, 1, 3]]), special)).toBeUndefined();
  expect(unknownTextsNote('queries', store(known), special)).toBeUndefined();
  expect(unknownTextsNote('queries', store([]), special)).toBeUndefined();
  expect(unknownTextsNote('queries', store([[1]]), { cls: 2 })).toBeUndefined();
});

it('is noted once for each side when a model is trained on a script that its tokenizer lacks', async () => {
  const folder = tempFiles({
    'latin.jsonl': lines((i) => ({ query: `ask ${i}`, positive: `document ${i}` })),
    'greek.jsonl': lines((i) => ({ query: letters(0x3b1, i), positive: letters(0x3c1, i) })),
  });
  const options = { batchSize: 8, steps: 2, evalSplit: 'none', threads: 1 };
  const base = { ...options, data: join(folder, 'latin.jsonl'), out: join(folder, 'base') };
  const notes: string[] = [];
  await trainRetriever({ ...base, model: 'static', hidden: 8, vocabSize: 100, vocabulary: 'wordpiece' });
  await trainRetriever(
    { ...options, model: base.out, data: join(folder, 'greek.jsonl'), out: join(folder, 'greek') },
    { onNote: (note) => notes.push(note) },
  );
  const unknown = notes.filter((note) => note.includes('unknown tokens alone'));
  expect(unknown).toEqual([
    expect.stringMatching(/^40 of 40 queries consist/),
    expect.stringMatching(/^40 of 40 documents consist/),
  ]);
});

const lines = (record: (i: number) => object): string =>
  Array.from({ length: 40 }, (_, i) => `${JSON.stringify(record(i))}\n`).join('');
const letters = (first: number, i: number): string =>
  String.fromCodePoint(first + (i % 7), first + Math.floor(i / 7));
