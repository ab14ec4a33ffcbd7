import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { SpillFile } from '../util/spill-file.ts';
import { Corpus, CorpusBuilder, type CorpusRecord } from './corpus.ts';
import { StringTable } from './string-table.ts';

describe('StringTable', () => {
  it('keeps strings of any length, empty ones and long ones between short ones', () => {
    const table = new StringTable();
    const strings = Array.from({ length: 3000 }, (_, i) => 'añ🌍'.repeat(i % 50));
    strings[1000] = 'y'.repeat(20 * 2 ** 20); // more than a chunk
    strings[2000] = 'ü'.repeat(2 ** 20);
    for (const [row, text] of strings.entries()) expect(table.add(text)).toBe(row);
    expect(strings.every((text, row) => table.get(row) === text)).toBe(true);
    table.trim();
    expect(strings.every((text, row) => table.get(row) === text)).toBe(true);
    expect(table.add('after')).toBe(3000);
    expect(table.get(3000)).toBe('after');
    expect(table.get(2999)).toBe(strings[2999]);
  });

  it('finds every string and no other', () => {
    const table = new StringTable({ indexed: true });
    const count = 50_000;
    for (let i = 0; i < count; i++) expect(table.intern(`key ${i}`)).toBe(i);
    for (let i = 0; i < count; i += 7) expect(table.intern(`key ${i}`)).toBe(i);
    expect(table.size).toBe(count);
    table.trim();
    for (let i = 0; i < count; i++) if (table.find(`key ${i}`) !== i) expect.fail(`key ${i}`);
    expect(table.find('key')).toBeUndefined();
    expect(table.find('')).toBeUndefined();
    expect(table.find(`key ${count}`)).toBeUndefined();
    expect(table.intern('')).toBe(count);
    expect(table.find('')).toBe(count);
  });

  it('takes 12 bytes a row beside the text, 24 to 32 with the index', () => {
    const plain = new StringTable();
    const indexed = new StringTable({ indexed: true });
    let textBytes = 0;
    for (let i = 0; i < 100_000; i++) {
      const text = `text ${i} ${'x'.repeat(i % 100)}`;
      textBytes += text.length;
      plain.add(text);
      indexed.intern(text);
    }
    const overhead = (table: StringTable) => (table.trim().bytes - textBytes) / table.size;
    expect(overhead(plain)).toBeGreaterThanOrEqual(12);
    expect(overhead(plain)).toBeLessThan(15);
    expect(overhead(indexed)).toBeLessThan(36);
  });

  it('gives the same strings from a file, and takes more after it was finished', () => {
    const spill = SpillFile.create(tempFiles());
    const table = new StringTable({ spill });
    const strings = Array.from({ length: 3000 }, (_, i) => 'añ🌍'.repeat(i % 50));
    strings[1000] = 'y'.repeat(20 * 2 ** 20);
    for (const text of strings) table.add(text);
    table.trim();
    expect(table.bytes).toBe(12 * 3000);
    expect(spill.bytes).toBe(Buffer.byteLength(strings.join('')));
    expect(strings.every((text, row) => table.get(row) === text)).toBe(true);
    table.add('after');
    table.add('all');
    expect([2999, 3001, 3000, 1000].map((row) => table.get(row))).toEqual([
      strings[2999],
      'all',
      'after',
      strings[1000],
    ]);
    spill.close();
  });

  it.each([undefined, 'file'])(
    'finds strings by an index that is made afterwards, in another order',
    (kind) => {
      const spill = kind && SpillFile.create(tempFiles());
      const table = new StringTable({ spill: spill || undefined });
      for (const text of ['b', 'a', '', 'c', 'a']) table.add(text);
      table.trim().rearrange([3, 4, 0, 1, 2]).index();
      expect([0, 1, 2, 3, 4].map((row) => table.get(row))).toEqual(['c', 'a', 'b', 'a', '']);
      expect(['a', 'b', 'c', '', 'd'].map((text) => table.find(text))).toEqual([1, 2, 0, 4, undefined]);
    },
  );

  it('refuses rows that are not there', () => {
    const table = new StringTable();
    table.add('a');
    for (const row of [-1, 1, Number.NaN]) expect(() => table.get(row)).toThrow(UndriftError);
  });
});

describe('Corpus', () => {
  const corpus = (...records: CorpusRecord[]) => Corpus.from(records, { file: 'corpus.jsonl' });

  it('holds ids and texts by row, with the title before the text', async () => {
    const c = await corpus(
      { id: 'a', title: 'Title', text: 'body' },
      { id: 'b', title: '', text: 'no title' },
      { id: 'ü', title: 'only a title', text: '' },
      { id: '__proto__', text: '' },
    );
    expect(c.size).toBe(4);
    expect([...c.texts()]).toEqual(['Title body', 'no title', 'only a title', '']);
    expect(['a', 'b', 'ü', '__proto__', 'c'].map((id) => c.row(id))).toEqual([0, 1, 2, 3, undefined]);
    expect(c.id(2)).toBe('ü');
    expect(Buffer.from(c.utf8(0)).toString()).toBe('Title body');
    expect(() => c.text(4)).toThrow(UndriftError);
  });

  it('takes an asynchronous source', async () => {
    async function* records() {
      yield { id: '1', text: 'one' };
    }
    expect((await Corpus.from(records())).text(0)).toBe('one');
  });

  it('refuses a duplicate id and names both lines', async () => {
    const twice = corpus(
      { id: 'x', text: 'one', line: 3 },
      { id: 'y', text: '', line: 4 },
      { id: 'x', text: 'one', line: 9 },
    );
    await expect(twice).rejects.toThrow(/^corpus.jsonl:9: document id "x" was used before, in line 3\n/);
    await expect(twice).rejects.toBeInstanceOf(DataError);
  });

  it('names the other file of a duplicate', () => {
    const builder = new CorpusBuilder({ file: 'one', noun: 'query' });
    builder.add({ id: 'x', text: 'a', line: 1 });
    builder.from('two').add({ id: 'y', text: 'a', line: 1 });
    const again = { id: 'x', text: 'a', line: 2 };
    expect(() => builder.add(again)).toThrow('two:2: query id "x" was used before, in one:1');
    expect(builder.add(again, { sameTextAgain: true })).toBe(0);
    expect(() => builder.add({ ...again, text: 'b' }, { sameTextAgain: true })).toThrow(/was used before/);
  });

  it('refuses an empty source and an empty id', async () => {
    await expect(corpus()).rejects.toThrow(/^corpus.jsonl: holds no document/);
    await expect(corpus({ id: '', text: 'a', line: 1 })).rejects.toThrow(
      /^corpus.jsonl:1: .*id that is not empty/,
    );
  });

  it('holds a text of megabytes', async () => {
    const text = '東京 '.repeat(2 ** 18);
    const c = await corpus({ id: 'short', text: 'a' }, { id: 'long', text }, { id: 'after', text: 'b' });
    expect(c.text(1)).toBe(text);
    expect(c.text(2)).toBe('b');
  });
});
