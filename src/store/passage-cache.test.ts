import { expect, it } from 'vitest';
import { PassageCache } from './passage-cache.ts';
import type { PassageTable, ShownRow } from './passage-table.ts';

it('reads each passage once while there is room, and gives each reader metadata of its own', async () => {
  const read: number[] = [];
  const readRows = async (pids: readonly number[]): Promise<ShownRow[]> => {
    read.push(...pids);
    const known = pids.filter((pid) => pid < 100);
    return known
      .map((pid) => ({ pid, id: `p${pid}`, title: '', text: 'x'.repeat(1000), metadata: '{"n":1}' }))
      .reverse();
  };
  const cache = new PassageCache({ readRows } as unknown as PassageTable, 10 * 2400);
  const first = await cache.read([3, 200, 1, 2]);
  expect(first.map(({ pid }) => pid)).toEqual([3, 1, 2]);
  expect(read.splice(0)).toEqual([3, 200, 1, 2]);
  (first[0]!.metadata as Record<string, unknown>).n = 2;
  const again = await cache.read([1, 3]);
  expect(again).toMatchObject([
    { pid: 1, metadata: { n: 1 } },
    { pid: 3, metadata: { n: 1 } },
  ]);
  expect(read.splice(0)).toEqual([]);
  // Ten fit: those that were read for the longest time before go first.
  await cache.read([10, 11, 12, 13, 14, 15, 16, 17]);
  read.splice(0);
  expect((await cache.read([1, 3, 2])).map(({ pid }) => pid)).toEqual([1, 3, 2]);
  expect(read).toEqual([2]);
});
