import { describe, expect, it } from 'vitest';
import { duplicateMap } from '../data/text-identity.ts';
import { maskedSlotLists, maskedSlots, maskKnownPositives, mergeMasks } from './masks.ts';
import { ScoreTable } from './score-table.ts';

/** Documents 10, 11, … 17 in slots 0 … 7. */
function makeTable(): ScoreTable {
  const table = new ScoreTable({ rows: 10, dimension: 1, documents: 30 });
  table.fill([10, 11, 12, 13, 14, 15, 16, 17], new Float32Array(8));
  return table;
}

const lists = (mask: ReturnType<typeof maskedSlotLists>) =>
  Array.from({ length: mask.offsets.length - 1 }, (_, b) => [...maskedSlots(mask, b)]);

describe('maskKnownPositives', () => {
  const positives = (row: number) => (row === 5 ? [17, 3, 12] : row === 6 ? [2] : []);

  it('finds the known positives that are in the table, ascending', () => {
    expect(lists(maskKnownPositives(makeTable(), [5, 6, 7, 5], { positives }))).toEqual([
      [2, 7],
      [],
      [],
      [2, 7],
    ]);
  });

  it('includes the own positive and documents of the same text', () => {
    const duplicates = duplicateMap({
      rows: 30,
      // 3, 14 and 16 are one text, 11 and 13 another.
      tokens: (row) => ([3, 14, 16].includes(row) ? [1, 2] : [11, 13].includes(row) ? [1, 2, 3] : [9, row]),
    });
    const masked = maskKnownPositives(makeTable(), [5, 6, 7], {
      positives,
      positiveRows: [12, 13, 15],
      duplicates,
    });
    expect(lists(masked)).toEqual([[2, 4, 6, 7], [1, 3], [5]]);
  });

  it('follows documents that move', () => {
    const table = makeTable();
    table.tick();
    table.insert([20, 21], new Float32Array(2));
    table.insert([22], new Float32Array(1));
    expect(lists(maskKnownPositives(table, [0], { positives: () => [10, 20, 21, 22] }))).toEqual([[0, 8, 9]]);
  });
});

describe('duplicateMap', () => {
  it('gives all documents of a text, and none if there is only one', () => {
    const texts = [[1, 2], [], [1, 2], [2, 1], [], [1, 2], [1]];
    const of = duplicateMap({ rows: texts.length, tokens: (row) => texts[row]! });
    expect(texts.map((_, row) => [...Array.from(of(row))])).toEqual([
      [0, 2, 5],
      [1, 4],
      [0, 2, 5],
      [],
      [1, 4],
      [0, 2, 5],
      [],
    ]);
  });

  it('compares texts, not only their hashes', () => {
    // Two sequences of one FNV-1a hash: h(a, b) = ((o ^ a) p ^ b) p is equal where b differs by what the first step changed.
    const [p, o] = [0x01000193, 0x811c9dc5];
    const second = Math.imul(o ^ 5, p) ^ Math.imul(o ^ 6, p) ^ 7;
    const texts = [
      [5, 7],
      [6, second],
      [5, 7],
    ];
    const of = duplicateMap({ rows: 3, tokens: (row) => texts[row]! });
    expect(Array.from(of(0))).toEqual([0, 2]);
    expect(Array.from(of(1))).toEqual([]);
  });
});

describe('masks', () => {
  it('are sorted, hold a slot once, and merge', () => {
    const a = maskedSlotLists(3, (b) => [[5, 1, 5], [], [20, 3]][b]!);
    expect(lists(a)).toEqual([[1, 5], [], [3, 20]]);
    const b = maskedSlotLists(3, (query) => [query, 3]);
    expect(lists(mergeMasks(a, b))).toEqual([
      [0, 1, 3, 5],
      [1, 3],
      [2, 3, 20],
    ]);
    expect(() =>
      mergeMasks(
        a,
        maskedSlotLists(2, () => []),
      ),
    ).toThrow('masks of 3 and 2 queries');
  });
});
