import { afterEach, describe, expect, it } from 'vitest';
import { f32ToF16 } from '../util/half.ts';
import { rngKey, uniform } from '../util/rng.ts';
import { BlockSearch, type RowRange } from './block-search.ts';
import type { StoredRows } from './stored-rows.ts';

const D = 6;
const open: BlockSearch[] = [];
afterEach(async () => {
  for (const search of open.splice(0)) await search.dispose();
});

function blockSearch(blockRows: number): BlockSearch {
  const search = new BlockSearch(D, { blockRows, threads: 1 });
  open.push(search);
  return search;
}

function randoms(rows: number, purpose: string): Float32Array {
  const values = new Float32Array(rows * D);
  uniform(rngKey(5, 0, purpose), values);
  // Few different values, so that ties are frequent and f16 is exact.
  return values.map((u) => Math.round(4 * u - 2) / 2);
}

/** Rows of an array as stored rows, which count how often they are read. */
function stored(values: Float32Array, dtype: 'f16' | 'f32'): StoredRows & { reads: number[] } {
  const halves = f32ToF16(values);
  const reads: number[] = [];
  return {
    size: values.length / D,
    dtype,
    reads,
    async read(start, into) {
      await new Promise((resolve) => setImmediate(resolve));
      reads.push(start);
      const source = dtype === 'f16' ? halves : values;
      into.set(source.subarray(start * D, start * D + into.length));
    },
  };
}

/** Squared distances of all rows, sorted, without those of a range. */
function nearest(
  rows: Float32Array,
  query: Float32Array,
  k: number,
  { start = 0, end = 0 }: Partial<RowRange> = {},
  ties = (a: number, b: number) => a - b,
) {
  const all = Array.from({ length: rows.length / D }, (_, row) => {
    let distance = 0;
    for (let d = 0; d < D; d++) distance += (query[d]! - rows[row * D + d]!) ** 2;
    return { row, distance };
  }).filter(({ row }) => row < start || row >= end);
  return all.sort((a, b) => a.distance - b.distance || ties(a.row, b.row)).slice(0, k);
}

const halfNorms = (rows: Float32Array): Float32Array =>
  Float32Array.from({ length: rows.length / D }, (_, row) => {
    const own = rows.subarray(row * D, (row + 1) * D);
    return -own.reduce((sum, x) => sum + x * x, 0) / 2;
  });

describe('BlockSearch', () => {
  it.each([
    ['f16', 100, 16, 5],
    ['f16', 96, 32, 40],
    ['f32', 100, 16, 5],
    ['f32', 7, 16, 7],
    ['f16', 300, 64, 150],
    ['f16', 130, 200, 130],
  ] as const)(
    'finds nearest rows that are stored in %s: %i rows, blocks of %i, k %i',
    async (dtype, N, block, k) => {
      const rows = randoms(N, 'rows');
      const source = stored(rows, dtype);
      const queries = randoms(70, 'queries');
      const progress: number[] = [];
      const found = await blockSearch(block).search(source, queries, k, {
        bias: halfNorms(rows),
        onProgress: ({ done }) => progress.push(done),
      });
      for (let b = 0; b < 70; b++) {
        const query = queries.subarray(b * D, (b + 1) * D);
        const expected = nearest(rows, query, k);
        expect([...found.rows.subarray(b * k, (b + 1) * k)]).toEqual(expected.map(({ row }) => row));
        const norm = query.reduce((sum, x) => sum + x * x, 0);
        for (const [i, { distance }] of expected.entries())
          expect(norm - 2 * found.scores[b * k + i]!).toBeCloseTo(distance, 5);
      }
      // Each block is read once, whatever the number of queries.
      expect(source.reads).toHaveLength(Math.ceil(N / Math.min(N, block)));
      expect(progress.at(-1)).toBe(70);
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
    },
  );

  const hidden = (query: number): RowRange | undefined =>
    query % 3 === 0 ? undefined : query % 3 === 1 ? { start: 10, end: 30 } : { start: 0, end: 99 };

  it.each([false, true])('hides rows from queries (other ties: %s)', async (reversed) => {
    const rows = randoms(100, 'rows');
    const queries = randoms(20, 'queries');
    const ties = (a: number, b: number) => b - a;
    const found = await blockSearch(16).search(stored(rows, 'f16'), queries, 4, {
      bias: halfNorms(rows),
      hidden,
      ...(reversed && { ties }),
    });
    for (let b = 0; b < 20; b++) {
      const query = queries.subarray(b * D, (b + 1) * D);
      const expected = nearest(rows, query, 4, hidden(b), reversed ? ties : undefined).map(({ row }) => row);
      const got = [...found.rows.subarray(b * 4, (b + 1) * 4)];
      expect(got).toEqual(Array.from({ length: 4 }, (_, i) => expected[i] ?? -1));
      if (b % 3 === 2)
        expect([...found.scores.subarray(b * 4 + 1, b * 4 + 4)]).toEqual(Array(3).fill(-Infinity));
    }
  });

  it.each([4, 150])('finds fewer rows where more are hidden: k %i', async (k) => {
    const rows = randoms(200, 'rows');
    const found = await blockSearch(64).search(rows, randoms(3, 'queries'), k, {
      hidden: (query) => ({ start: 0, end: 199 - query }),
    });
    for (let b = 0; b < 3; b++) {
      const own = [...found.rows.subarray(b * k, (b + 1) * k)];
      expect(own.filter((row) => row !== -1).sort((a, b) => a - b)).toEqual(
        Array.from({ length: b + 1 }, (_, i) => 199 - b + i),
      );
    }
  });

  it('hides rows of a matrix in memory too', async () => {
    const rows = randoms(50, 'rows');
    const queries = randoms(2, 'queries');
    const found = await blockSearch(16).search(rows, queries, 50, { hidden: () => ({ start: 3, end: 48 }) });
    expect(new Set(found.rows)).toEqual(new Set([-1, 0, 1, 2, 48, 49]));
  });

  it('passes the error of a read on', async () => {
    const broken: StoredRows = {
      size: 40,
      dtype: 'f16',
      read: async (start) => {
        if (start > 0) throw new Error('the disk is gone');
      },
    };
    await expect(blockSearch(16).search(broken, randoms(1, 'queries'), 3)).rejects.toThrow(
      'the disk is gone',
    );
  });
});
