import { expect, it, test } from 'vitest';
import { phraseText, smallRetriever } from '../../../test/small-models.ts';
import { shareRows } from '../background/encode-workers.ts';
import { BLOCK_SIZE, blockEnds, pieces } from './encode-blocks.ts';
import { passes } from './encode-rows.ts';

test('a block ends at each multiple of 1,024 rows, and before it exceeds 200,000 tokens', () => {
  expect(BLOCK_SIZE).toEqual({ rows: 1024, tokens: 200_000 });
  expect([...blockEnds([])]).toEqual([]);
  expect([...blockEnds(new Int32Array(2049).fill(3))]).toEqual([1024, 2048, 2049]);
  expect([...blockEnds(new Int32Array(1024).fill(3))]).toEqual([1024]);
  expect([...blockEnds([100_000, 100_000, 1, 250_000, 199_999, 1, 1])]).toEqual([2, 3, 4, 6, 7]);
  const long = new Int32Array(2000).fill(3).fill(150_000, 500, 502);
  expect([...blockEnds(long)]).toEqual([501, 1024, 2000]);
  expect([...blockEnds([0, 0, 0], { rows: 2, tokens: 1 })]).toEqual([2, 3]);
});

test('pieces are whole blocks', () => {
  const lengths = Int32Array.from({ length: 20_000 }, (_, row) => 150 + ((row * 7) % 100));
  const ends = new Set(blockEnds(lengths));
  const made = [...pieces(lengths)];
  expect(made.map(({ start }) => start)).toEqual([0, ...made.slice(0, -1).map(({ end }) => end)]);
  expect(made.every(({ end }) => ends.has(end))).toBe(true);
  expect(made.at(-1)!.end).toBe(20_000);
  expect(made).toHaveLength(Math.ceil(ends.size / 16));
  expect([...pieces(new Int32Array())]).toEqual([]);
});

it.each([1, 2, 3, 5])('%i processes share the passes of blocks, in about equal parts', (count) => {
  const lengths = Int32Array.from({ length: 2600 }, (_, row) => 1 + ((row * row) % 190));
  const expected: string[] = [];
  let start = 0;
  for (const end of blockEnds(lengths)) {
    for (const picked of passes(lengths.subarray(start, end)))
      expected.push(Array.from(picked, (i) => start + i).join());
    start = end;
  }
  const shares = shareRows(lengths, count);
  const found: string[] = [];
  for (const { places, ends } of shares) {
    let first = 0;
    for (const end of ends) {
      const own = places.subarray(first, end);
      for (const picked of passes(Int32Array.from(own, (place) => lengths[place]!)))
        found.push(Array.from(picked, (i) => own[i]!).join());
      first = end;
    }
    expect(first).toBe(places.length);
  }
  expect(found.sort()).toEqual(expected.sort());
  const tokens = shares.map(({ places }) => places.reduce((sum, place) => sum + lengths[place]!, 0));
  expect(Math.max(...tokens) - Math.min(...tokens)).toBeLessThan(4096);
});

it.each(['static', 'transformer'] as const)(
  'rows get the same bits all at once, and piece by whole piece: %s',
  async (kind) => {
    const retriever = smallRetriever({ kind });
    const text = (row: number) => phraseText(Array.from({ length: 1 + (row % 5) }, (_, n) => row + n));
    const store = retriever.tokenize('document', 2100, text);
    const rows = (from: number, to: number) => Uint32Array.from({ length: to - from }, (_, i) => from + i);
    const whole = await retriever.encodeTokens('document', store, { threads: 1 });
    const made: number[] = [];
    for (const [from, to] of [
      [0, 1024],
      [1024, 2048],
      [2048, 2100],
    ] as const) {
      made.push(...(await retriever.encodeTokens('document', store, { rows: rows(from, to), threads: 1 })));
    }
    expect(made).toEqual([...whole]);
    await retriever.dispose();
  },
);
