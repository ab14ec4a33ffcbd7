import { describe, expect, it } from 'vitest';
import { UndriftError } from '../util/errors.ts';
import { BestRows, bestRowsOf } from './best-rows.ts';

const list = (k: number) => ({ rows: new Int32Array(k).fill(-1), scores: new Float32Array(k).fill(-9), k });

describe('BestRows', () => {
  it('keeps the k best of all blocks, equal scores in the order of the rows', () => {
    const found = list(4);
    const best = new BestRows(found.rows, found.scores);
    best.merge(Float32Array.of(5, 3, 1), (i) => [7, 2, 9][i]);
    best.merge(Float32Array.of(5, 3, 3), (i) => [10, 11, 12][i]);
    expect([...found.rows]).toEqual([7, 10, 2, 11]);
    expect([...found.scores]).toEqual([5, 5, 3, 3]);
  });

  it('skips rows that an earlier block has contributed', () => {
    const found = list(3);
    const best = new BestRows(found.rows, found.scores);
    best.merge(Float32Array.of(2, 1), (i) => i);
    best.merge(Float32Array.of(2, 1.5), (i) => (i === 0 ? undefined : 4));
    expect([...found.rows]).toEqual([0, 4, 1]);
  });

  it('leaves places without a row unchanged', () => {
    const found = list(3);
    new BestRows(found.rows, found.scores).merge(Float32Array.of(1), () => 6);
    expect([[...found.rows], [...found.scores]]).toEqual([
      [6, -1, -1],
      [1, -9, -9],
    ]);
  });

  it('refuses a score that is not a number, with the error of the caller', () => {
    const own = () => new UndriftError('diverged');
    const [best] = bestRowsOf(list(2), { notANumber: own });
    expect(() => best!.merge(Float32Array.of(Number.NaN), () => 0)).toThrow('diverged');
    expect(() => bestRowsOf(list(2))[0]!.merge(Float32Array.of(1, Number.NaN), (i) => i)).toThrow(
      /overflows/,
    );
  });
});
