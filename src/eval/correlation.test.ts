import { expect, it } from 'vitest';
import { pearson, spearman } from './correlation.ts';

it('pearson is 1 on a line and equals its definition elsewhere', () => {
  expect(pearson([1, 2, 3], [10, 20, 30])).toBeCloseTo(1, 12);
  // Deviations −1, 0, 1 and −1, 1, 0.
  expect(pearson([1, 2, 3], [0, 2, 1])).toBeCloseTo(0.5, 12);
  expect(pearson([1, 1, 1], [0, 2, 1])).toBe(0);
});

it('spearman depends on the order alone, and ties share their ranks', () => {
  expect(spearman([1, 2, 3, 4], [0, 1, 50, 1e6])).toBeCloseTo(1, 12);
  expect(spearman([1, 2, 3, 4], [9, 8, 7, -5])).toBeCloseTo(-1, 12);
  // Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: as scipy.stats.spearmanr.
  expect(spearman([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(0.9486832980505138, 12);
});
