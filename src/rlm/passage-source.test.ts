import { describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { longestCommonSubstring } from '../text/longest-common-substring.ts';
import { leakFilter } from './leak-filter.ts';
import { bm25Source, denseSource, randomSource } from './passage-source.ts';
import { documentByPrefix, type Passages } from './passages.ts';

const TEXTS = [
  'the red fox ran',
  'the red hen sat',
  'a red fox slept',
  'blue whales sing',
  'the fox and the hen',
];
const IDS = ['a:1', 'a:2', 'b:1', 'b:2', 'c:1'];
const document = documentByPrefix(':');
const passages: Passages = {
  size: TEXTS.length,
  id: (row) => IDS[row]!,
  text: (row) => TEXTS[row]!,
  document: (row) => document(IDS[row]!),
};
const everything = leakFilter(passages, { sameId: false, sameDocument: false });

describe('leak filter', () => {
  const query = { text: 'red fox', id: 'a:1', document: 'a' };
  const allowed = (
    rules: Parameters<typeof leakFilter>[1],
    asked: typeof query & { target?: string } = query,
  ) => IDS.filter((_, row) => leakFilter(passages, rules).allows(asked, row));

  it('leaves out the passage itself and its document by default', () => {
    expect(allowed({})).toEqual(['b:1', 'b:2', 'c:1']);
    expect(allowed({ sameDocument: false })).toEqual(['a:2', 'b:1', 'b:2', 'c:1']);
    expect(allowed({ sameId: false, sameDocument: false })).toEqual(IDS);
  });

  it('leaves out documents of an evaluation for every query', () => {
    expect(allowed({ excludedDocuments: new Set(['b']) })).toEqual(['c:1']);
  });

  it('leaves out passages that contain more than a share of the target as one piece', () => {
    const target = 'A red fox ran!';
    const rules = { sameId: false, sameDocument: false };
    expect(allowed({ ...rules, maxOverlap: 0.5 }, { ...query, target })).toEqual(['a:2', 'b:2', 'c:1']);
    expect(allowed({ ...rules, maxOverlap: 0.75 }, { ...query, target })).toEqual(IDS);
    expect(allowed({ ...rules, maxOverlap: 0 }, { ...query, target })).toEqual(['b:2']);
    expect(allowed({ ...rules, maxOverlap: 0 })).toEqual(IDS);
    expect(() => leakFilter(passages, { maxOverlap: 1.5 })).toThrow('must be from 0 to 1, found 1.5');
  });

  it('finds the longest common run', () => {
    expect(longestCommonSubstring('xabcyabcd', 'zabcdz')).toBe(4);
    expect(longestCommonSubstring([1, 2, 3], [4])).toBe(0);
    expect(longestCommonSubstring([], [4])).toBe(0);
  });
});

describe('passage sources', () => {
  const found = ({ rows }: { rows: Int32Array }) => [...rows].map((row) => IDS[row]!);

  it('BM25 searches deeper where the filter leaves too few', async () => {
    const source = bm25Source(passages, leakFilter(passages));
    const [first, second, none] = await source.find(
      [{ text: 'red fox', document: 'a' }, { text: 'red fox' }, { text: 'zebra' }],
      1,
    );
    expect(found(first!)).toEqual(['b:1']);
    expect(found(second!)).toEqual(['a:1']);
    expect(none!.rows).toHaveLength(0);
    const [all] = await source.find([{ text: 'red fox' }], 100);
    expect(all!.rows).toHaveLength(4);
    expect([...all!.scores]).toEqual([...all!.scores].sort((a, b) => b - a));
    await expect(source.find([{ text: 'red' }], 0)).rejects.toThrow('at least 1, found 0');
  });

  it('dense search equals a full ranking that is filtered afterwards', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const filter = leakFilter(passages);
    const source = await denseSource(retriever, passages, filter, { threads: 1 });
    const whole = await denseSource(retriever, passages, everything, { threads: 1 });
    const queries = IDS.map((id, row) => ({ text: TEXTS[row]!, id, document: document(id) }));
    const ranked = await whole.find(queries, passages.size);
    for (const k of [1, 2, 5]) {
      const some = await source.find(queries, k);
      for (const [i, query] of queries.entries()) {
        const expected = [...ranked[i]!.rows].filter((row) => filter.allows(query, row)).slice(0, k);
        expect([...some[i]!.rows]).toEqual(expected);
      }
    }
    expect(await source.find([], 3)).toEqual([]);
    await source.dispose();
    await whole.dispose();
    await retriever.dispose();
  });

  it('random passages depend on seed and text, and hold no passage twice', async () => {
    const source = (seed: number) => randomSource(passages, leakFilter(passages), { seed });
    const query = { text: 'red fox', document: 'a' };
    const [a] = await source(1).find([query], 3);
    expect(new Set(a!.rows)).toEqual(new Set([2, 3, 4]));
    expect(await source(1).find([query], 3)).toEqual([a]);
    const first = await Promise.all([1, 2, 3, 4, 5, 6].map((seed) => source(seed).find([query], 1)));
    expect(new Set(first.map(([f]) => f!.rows[0])).size).toBeGreaterThan(1);
    const [short] = await source(1).find([query], 100);
    expect(short!.rows).toHaveLength(3);
  });
});
