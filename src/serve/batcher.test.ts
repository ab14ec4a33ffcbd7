import { describe, expect, it } from 'vitest';
import { Batcher } from './batcher.ts';

const pause = (ms = 5) => new Promise((resolve) => setTimeout(resolve, ms));

function doubling(batches: number[][], options = { most: 4 }): Batcher<number, number> {
  return new Batcher<number, number>(async (values) => {
    batches.push([...values]);
    await pause();
    if (values.includes(13)) throw new Error('thirteen');
    return values.map((value) => 2 * value);
  }, options);
}

describe('a batcher', () => {
  it('works on what has arrived meanwhile, up to a size, and keys apart', async () => {
    const batches: number[][] = [];
    const batcher = doubling(batches);
    const added = [1, 2, 3, 4, 5, 6, 7].map((value) => batcher.add(value, value === 3 ? 'other' : ''));
    expect(await Promise.all(added)).toEqual([2, 4, 6, 8, 10, 12, 14]);
    expect(batches).toEqual([[1], [2, 4, 5, 6], [3], [7]]);
  });

  it('fails only the item that is refused', async () => {
    const batches: number[][] = [];
    const batcher = doubling(batches);
    const added = await Promise.allSettled([1, 2, 13, 4].map((value) => batcher.add(value, '')));
    expect(added.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(batches).toEqual([[1], [2, 13, 4], [2], [13], [4]]);
    expect(await batcher.add(5, '')).toBe(10);
  });

  it('drops items of those who have left, at once', async () => {
    const batches: number[][] = [];
    const batcher = doubling(batches);
    const first = batcher.add(1, '');
    const abort = new AbortController();
    const left = batcher.add(2, '', abort.signal);
    const gone = batcher.add(3, '', AbortSignal.abort());
    abort.abort();
    expect(batcher.waiting).toBe(1);
    await expect(left).rejects.toThrow(/abort/);
    await expect(gone).rejects.toThrow(/abort/);
    expect(await first).toBe(2);
    expect(batches).toEqual([[1]]);
    expect(batcher.waiting).toBe(0);
  });

  it('bounds a batch by the sizes of its items', async () => {
    const batches: number[][] = [];
    const batcher = new Batcher<number, number>(
      async (values) => {
        batches.push([...values]);
        await pause();
        return values;
      },
      { most: 10, sizeOf: (value) => value },
    );
    await Promise.all([1, 6, 20, 3, 4].map((value) => batcher.add(value, '')));
    expect(batches).toEqual([[1], [6, 3], [20], [4]]);
  });
});
