import { describe, expect, it } from 'vitest';
import { normal, rngKey } from '../util/rng.ts';
import { kthLargest, numberOfKey, orderKey } from './kth-largest.ts';

const bitsOf = (value: number) => new Int32Array(Float32Array.of(value).buffer)[0]!;

/** Numbers of many kinds: close ones, far ones, equal ones, infinite ones. */
const KINDS: Record<string, (x: number, i: number) => number> = {
  normal: (x) => x,
  negative: (x) => 20 * x - 288,
  close: (x) => 1 + x * 1e-6,
  'of few values': (x) => Math.round(2 * x) + 0,
  equal: () => -7.5,
  'of all magnitudes': (x, i) => x * 10 ** ((i % 70) - 35),
  'with outliers': (x, i) => (i % 97 === 0 ? 1e30 * x : x),
  infinite: (x, i) => (i % 5 === 0 ? Infinity : i % 7 === 0 ? -Infinity : x),
};

describe('kthLargest', () => {
  it.each(Object.entries(KINDS))('finds what sorting finds among numbers that are %s', (name, make) => {
    const values = new Float32Array(1500);
    normal(rngKey(3, 0, name), values);
    const own = values.map(make);
    for (const length of [1, 2, 63, 65, 400, 1500]) {
      const sorted = [...own.subarray(0, length)].sort((a, b) => b - a);
      for (const k of new Set([1, 2, length >> 2, length >> 1, length - 1, length]))
        if (k >= 1 && k <= length) expect(kthLargest(own, k, length)).toBe(sorted[k - 1]);
    }
  });

  it('leaves the numbers as they are', () => {
    const values = Float32Array.from({ length: 300 }, (_, i) => (i * 77) % 300);
    const before = [...values];
    expect(kthLargest(values, 100)).toBe(200);
    expect([...values]).toEqual(before);
  });
});

describe('orderKey', () => {
  it('descends with the number, and gives it back', () => {
    const values = [Infinity, 3e38, 1, 1e-45, 0, -1e-45, -1, -3e38, -Infinity].map(Math.fround);
    const keys = values.map((value) => orderKey(bitsOf(value)));
    expect(keys).toEqual([...keys].sort((a, b) => a - b));
    expect(keys.map(numberOfKey)).toEqual(values);
    expect(Object.is(numberOfKey(orderKey(bitsOf(-0))), -0)).toBe(true);
  });
});
