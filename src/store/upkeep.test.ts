import type { Table } from '@lancedb/lancedb';
import { describe, expect, it } from 'vitest';
import { needsUpkeep } from './upkeep.ts';

/** Table of these numbers: rows, files, rows with the removed ones, rows without index, versions. */
const table = ({ rows = 200_000, files = 2, stored = rows, unindexed = 0, versions = 3 }) =>
  ({
    stats: async () => ({
      numRows: rows,
      fragmentStats: { numFragments: files, lengths: { mean: stored / files } },
    }),
    listIndices: async () => [{ name: 'pid_idx' }],
    indexStats: async () => ({ numUnindexedRows: unindexed }),
    listVersions: async () => Array(versions).fill({}),
  }) as unknown as Table;

describe('upkeep of a table', () => {
  it.each([
    ['a small table', { rows: 9000 }],
    ['many small files', { files: 60 }],
    ['many removed rows', { stored: 210_000 }],
    ['many rows without index', { unindexed: 5000 }],
    ['many versions', { versions: 200 }],
  ])('is worth its cost for %s', async (_, numbers) => {
    expect(await needsUpkeep(table(numbers))).toBe(true);
  });

  it('is not worth its cost after a few small commits', async () => {
    const numbers = { files: 9, stored: 200_070, unindexed: 70, versions: 12 };
    expect(await needsUpkeep(table(numbers))).toBe(false);
  });
});
