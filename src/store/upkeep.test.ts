import type { Table } from '@lancedb/lancedb';
import { describe, expect, it } from 'vitest';
import { needsUpkeep } from './upkeep.ts';

const FEW = { rows: 200_000, files: 2, removed: 0, unindexed: 0, versions: 3 };

/** Table of these numbers: rows, files, removed rows, rows without index, versions. */
const table = (numbers: Partial<typeof FEW>) => {
  const { rows, files, unindexed, versions, removed } = { ...FEW, ...numbers };
  return {
    stats: async () => ({
      numRows: rows,
      fragmentStats: { numFragments: files, lengths: { mean: (rows + removed) / files } },
    }),
    listIndices: async () => [{ name: 'pid_idx' }],
    indexStats: async () => ({ numUnindexedRows: unindexed }),
    listVersions: async () => Array(versions).fill({}),
  } as unknown as Table;
};

describe('upkeep of a table', () => {
  it.each([
    ['a small table', { rows: 900 }],
    ['many small files', { files: 60 }],
    ['many removed rows', { removed: 10_000 }],
    ['many rows without index', { unindexed: 5000 }],
    ['many versions', { versions: 200 }],
  ])('is worth its cost for %s', async (_, numbers) => {
    expect(await needsUpkeep(table(numbers))).toBe(true);
  });

  it('is not worth its cost after a few small commits', async () => {
    const numbers = { files: 9, removed: 70, unindexed: 70, versions: 12 };
    expect(await needsUpkeep(table(numbers))).toBe(false);
  });
});
