import { describe, expect, it } from 'vitest';
import { holm, spread } from './statistics.ts';

describe('spread', () => {
  it('is mean and sample standard deviation', () => {
    expect(spread([2, 4, 4, 4, 5, 5, 7, 9])).toMatchObject({ mean: 5, sd: Math.sqrt(32 / 7) });
    expect(spread([3])).toEqual({ mean: 3, sd: null, values: [3] });
    expect(() => spread([])).toThrow(RangeError);
  });
});

describe('holm', () => {
  it('adjusts as in closed form, in the order given', () => {
    // 0.01 · 4, then max(0.04, 0.02 · 3), max(…, 0.03 · 2), max(…, 0.04 · 1)
    const adjusted = holm([0.04, 0.01, 0.03, 0.02]);
    for (const [i, expected] of [0.06, 0.04, 0.06, 0.06].entries())
      expect(adjusted[i]).toBeCloseTo(expected, 12);
    expect(holm([0.5, 0.9])).toEqual([1, 1]);
    expect(holm([0.03])).toEqual([0.03]);
    expect(holm([])).toEqual([]);
  });
});
