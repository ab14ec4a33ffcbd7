import { expect, it } from 'vitest';
import { NONE, pickRows, positionsIn, squaredDistance } from './vector-rows.ts';

it('finds rows in a list of distinct rows', () => {
  expect([...positionsIn([4, 0, 2], 5)]).toEqual([1, NONE, 2, NONE, 0]);
  expect([...positionsIn(new Uint32Array(0), 2)]).toEqual([NONE, NONE]);
});

it('copies rows, and sums squared differences', () => {
  const table = Float32Array.of(1, 2, 3, 4, 5, 6);
  expect([...pickRows(table, 2, Uint32Array.of(2, 0))]).toEqual([5, 6, 1, 2]);
  expect(squaredDistance(table, Float32Array.of(1, 2, 3, 4, 3, 9))).toBe(13);
});
