import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { continuationsOf, writeContinuations } from './continuations.ts';
import { loadData } from './load.ts';

const words = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `w${from + i}`).join(' ');
const SIZES = { contextWords: 4, continuationWords: 4 };

describe('continuationsOf', () => {
  it('cuts a text into pairs one after the other, with white space as it is', () => {
    expect(continuationsOf('a b\n\nc d e  f g h i', SIZES)).toEqual([
      { context: 'a b\n\nc d', continuation: 'e  f g h' },
    ]);
    const found = continuationsOf(words(0, 14), SIZES);
    // The rest of six words has half a continuation.
    expect(found.at(-1)).toEqual({ context: words(8, 12), continuation: words(12, 14) });
    expect(found).toHaveLength(2);
    expect(continuationsOf(words(0, 13), SIZES)).toHaveLength(1);
  });

  it.each(['', '  ', 'a b c d', 'a b c d e'])('finds none in %j', (text) => {
    expect(continuationsOf(text, SIZES)).toEqual([]);
  });
});

describe('writeContinuations', () => {
  const texts = Array.from({ length: 20 }, (_, i) => ({ id: `t${i}`, text: `T${i} ${words(0, 19)}` }));

  it('writes a data set whose right documents are the passages of the own text', async () => {
    const out = join(tempFiles({}), 'data');
    const given = { ...SIZES, passageWords: 8, devFraction: 0.2, testFraction: 0.2, out };
    const written = await writeContinuations({ texts: [...texts, { id: 'short', text: 'a b c' }] }, given);
    expect(written).toMatchObject({ documents: 21, passages: 20 * 3 + 1, shortDocuments: 1 });
    const { train, dev, test } = written.splits;
    expect(train! + dev! + test!).toBe(20 * 2);
    const data = await loadData(out, { answers: true });
    expect(data.corpus.size).toBe(61);
    expect(data.queries.text(data.queries.row('t3@2')!)).toBe(words(7, 11));
    expect(data.answers!(data.queries.row('t3@2')!)).toEqual([words(11, 15)]);
    const splitOf = new Map<string, string>();
    for (const split of data.splits) {
      for (const [id, grades] of data.qrels(split)) {
        const text = id.split('@')[0]!;
        expect([...grades.keys()]).toEqual([`${text}#1`, `${text}#2`, `${text}#3`]);
        // Contexts of a text stay together.
        expect(splitOf.get(text) ?? split).toBe(split);
        splitOf.set(text, split);
      }
    }
    expect(new Set(splitOf.values()).size).toBe(3);
  });

  it('leaves nothing where no text is long enough', async () => {
    const out = join(tempFiles({}), 'data');
    const short = writeContinuations({ texts: ['a b c d e'] }, { ...SIZES, out });
    await expect(short).rejects.toThrow(/no text to train on has the 6 words/);
    expect(existsSync(out)).toBe(false);
  });

  it('refuses a folder that holds something, and shares that leave nothing', async () => {
    const folder = tempFiles({ 'data/a': '' });
    const out = join(folder, 'data');
    await expect(writeContinuations({ texts }, { out })).rejects.toThrow(/is not empty/);
    expect(readFileSync(join(out, 'a'), 'utf8')).toBe('');
    const shares = { devFraction: 0.5, testFraction: 0.5, out: join(folder, 'other') };
    await expect(writeContinuations({ texts }, shares)).rejects.toThrow(/leave nothing to train on/);
  });
});
