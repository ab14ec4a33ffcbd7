import { describe, expect, it } from 'vitest';
import { UsageError } from './errors.ts';
import { normal, permutation, philox4x32, type RngKey, randomInts, rngKey, uniform } from './rng.ts';

const key = rngKey(20240607, 12, 'gumbel');

/** Pearson's statistic of observed counts against equal expected counts. */
function chiSquare(counts: Uint32Array): number {
  const expected = counts.reduce((a, b) => a + b, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/**
 * Checks counts against equal expected counts. The chi-square distribution has mean `degrees` and variance
 * `2 degrees`; five standard deviations are exceeded once in millions of tests.
 */
function expectUniform(counts: Uint32Array): void {
  const degrees = counts.length - 1;
  expect(Math.abs(chiSquare(counts) - degrees)).toBeLessThan(5 * Math.sqrt(2 * degrees));
}

function moment(values: Float32Array, power: number): number {
  return values.reduce((sum, x) => sum + x ** power, 0) / values.length;
}

describe('philox4x32', () => {
  it('gives the known answers of Random123 (kat_vectors, philox4x32 10)', () => {
    const cases = [
      [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
      [[-1, -1, -1, -1], [-1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
      [
        [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
        [0xa4093822, 0x299f31d0],
        'd16cfe09 94fdcceb 5001e420 24126ea1',
      ],
    ] as const;
    for (const [counter, seed, answer] of cases) {
      const out = new Uint32Array(4);
      philox4x32(counter, seed, out);
      expect(Array.from(out, (word) => word.toString(16).padStart(8, '0')).join(' ')).toBe(answer);
    }
  });
});

describe('random sequences', () => {
  const makers: Record<string, (key: RngKey, out: Float32Array, offset: number) => void> = {
    uniform,
    normal,
    randomInts: (k, out, offset) => {
      const ints = new Uint32Array(out.length);
      randomInts(k, 1000, ints, offset);
      out.set(ints);
    },
  };

  it.each(Object.keys(makers))('%s: any slice can be made alone', (name) => {
    const make = makers[name]!;
    const whole = new Float32Array(5000);
    make(key, whole, 0);
    for (const [offset, length] of [
      [0, 1],
      [1, 3],
      [1023, 2],
      [1022, 2000],
      [4999, 1],
      [17, 0],
    ] as const) {
      const slice = new Float32Array(length);
      make(key, slice, offset);
      expect(slice).toEqual(whole.slice(offset, offset + length));
    }
    const far = new Float32Array(3);
    make(key, far, 2 ** 45 + 1);
    const near = new Float32Array(1);
    make(key, near, 2 ** 45 + 3);
    expect(far[2]).toBe(near[0]);
    expect(far).not.toEqual(whole.slice(1, 4));
  });

  it('differs with seed, step and purpose', () => {
    const draws = [
      rngKey(1, 1, 'a'),
      rngKey(2, 1, 'a'),
      rngKey(1 + 2 ** 32, 1, 'a'),
      rngKey(1, 2, 'a'),
      rngKey(1, 1, 'b'),
    ].map((k) => {
      const out = new Float32Array(8);
      uniform(k, out);
      return [...out].join();
    });
    expect(new Set(draws).size).toBe(draws.length);
  });

  it('is not correlated between neighbouring keys', () => {
    const n = 100_000;
    const a = new Float32Array(n);
    const b = new Float32Array(n);
    const keys = [rngKey(5, 0, 'x'), rngKey(5, 1, 'x'), rngKey(6, 0, 'x'), rngKey(5, 0, 'y')];
    normal(keys[0]!, a);
    for (const other of keys.slice(1)) {
      normal(other, b);
      const correlation = a.reduce((sum, x, i) => sum + x * b[i]!, 0) / n;
      expect(Math.abs(correlation)).toBeLessThan(5 / Math.sqrt(n));
    }
  });

  it('refuses keys and arguments out of range', () => {
    for (const wrong of [
      () => rngKey(-1, 0, ''),
      () => rngKey(0.5, 0, ''),
      () => rngKey(2 ** 53, 0, ''),
      () => rngKey(0, 2 ** 32, ''),
      () => uniform(key, new Float32Array(1), -1),
      () => randomInts(key, 0, new Uint32Array(1)),
      () => randomInts(key, 2 ** 32, new Int32Array(1)),
      () => permutation(key, -1),
    ]) {
      expect(wrong).toThrow(UsageError);
    }
  });
});

describe('distributions', () => {
  const n = 1_000_000;
  const values = new Float32Array(n);

  it('uniform: equal shares of 1000 cells, and of 32 x 32 cells for neighbours', () => {
    uniform(rngKey(1, 0, 'uniform'), values);
    const cells = new Uint32Array(1000);
    const pairs = new Uint32Array(1024);
    for (const u of values) cells[Math.floor(u * 1000)]!++;
    for (let i = 0; i < n; i += 2) {
      pairs[Math.floor(values[i]! * 32) * 32 + Math.floor(values[i + 1]! * 32)]!++;
    }
    expectUniform(cells);
    expectUniform(pairs);
  });

  it('normal: first four moments, and quantiles', () => {
    normal(rngKey(1, 0, 'normal'), values);
    // Standard errors of the moments of n normal numbers: sqrt(1, 2, 15, 96) / sqrt(n).
    const error = 5 / Math.sqrt(n);
    expect(Math.abs(moment(values, 1))).toBeLessThan(error);
    expect(Math.abs(moment(values, 2) - 1)).toBeLessThan(Math.SQRT2 * error);
    expect(Math.abs(moment(values, 3))).toBeLessThan(Math.sqrt(15) * error);
    expect(Math.abs(moment(values, 4) - 3)).toBeLessThan(Math.sqrt(96) * error);
    for (const [z, below] of [
      [-3, 0.0013498980316301],
      [-1.5, 0.0668072012688581],
      [-0.25, 0.401293674317076],
      [1.2, 0.884930329778292],
      [2.5, 0.993790334674224],
    ] as const) {
      const share = values.reduce((count, x) => count + (x < z ? 1 : 0), 0) / n;
      expect(Math.abs(share - below)).toBeLessThan(error * Math.sqrt(below * (1 - below)));
    }
  });

  it('normal equals SciPy for given words (norm.ppf)', () => {
    const words = new Uint32Array(7);
    randomInts(key, 2 ** 32, words);
    expect([words[0], words[1], words[6]]).toEqual([3236704951, 2273343322, 358480632]);
    const z = new Float32Array(7);
    normal(key, z);
    expect([z[0], z[1], z[6]]).toEqual([0.685875207208, 0.073520386425, -1.382134025302].map(Math.fround));
  });

  it('stays finite and inside the interval at the extreme words', () => {
    // The largest and the smallest of the first 10^9 words of this sequence are 2^32 - 3 and 1.
    const extremes = rngKey(7, 3, 'extremes');
    const at = (make: (key: RngKey, out: Float32Array, offset: number) => void, offset: number) => {
      const out = new Float32Array(1);
      make(extremes, out, offset);
      return out[0]!;
    };
    const word = new Uint32Array(1);
    const [high, low] = [843799216, 162292279];
    randomInts(extremes, 2 ** 32, word, high);
    expect(word[0]).toBe(2 ** 32 - 3);
    randomInts(extremes, 2 ** 32, word, low);
    expect(word[0]).toBe(1);
    expect([at(uniform, high), at(uniform, low)]).toEqual([1 - 2 ** -24, 2 ** -24]);
    expect(at(normal, high)).toBeCloseTo(6.0851045, 5);
    expect(at(normal, low)).toBeCloseTo(-6.1664294, 5);
  });

  it('randomInts: equally likely, also where rejection is frequent', () => {
    const ints = new Uint32Array(n);
    randomInts(rngKey(1, 0, 'ints'), 97, ints);
    const counts = new Uint32Array(97);
    for (const i of ints) counts[i]!++;
    expectUniform(counts);
    // A bound of 3 * 2^30 rejects a quarter of the words. Without rejection, a third of the numbers would occur
    // twice as often as the others.
    const bound = 3 * 2 ** 30;
    randomInts(rngKey(1, 0, 'ints'), bound, ints);
    const residues = new Uint32Array(3);
    for (const i of ints) {
      if (i >= bound) throw new Error(`${i} is not below ${bound}`);
      residues[i % 3]!++;
    }
    expectUniform(residues);
    randomInts(key, 1, ints);
    expect(ints.every((x) => x === 0)).toBe(true);
  });

  it('permutation: every order of four equally likely; a long one is complete', () => {
    const counts = new Map<string, number>();
    for (let step = 0; step < 24_000; step++) {
      const order = permutation(rngKey(1, step, 'order'), 4).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expectUniform(Uint32Array.from(counts.values()));
    const long = permutation(key, 100_000);
    expect(long.slice().sort()).toEqual(Uint32Array.from({ length: 100_000 }, (_, i) => i));
    expect(permutation(key, 0)).toEqual(new Uint32Array(0));
  });
});
