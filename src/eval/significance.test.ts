import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UndriftError, UsageError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import type { Qrels } from './metrics.ts';
import type { Run } from './ranking.ts';
import { bootstrapInterval, compareRuns, pairedTTest, randomisationTest } from './significance.ts';
import { studentTTwoSided } from './student-t.ts';

interface Golden {
  cases: {
    name: string;
    x: number[];
    y: number[];
    t: number;
    tPValue: number;
    exact: boolean;
    permutationPValue: number;
    interval: [number, number];
  }[];
  tails: { t: number; df: number; p: number }[];
}

const golden: Golden = JSON.parse(
  readFileSync(new URL('./fixtures/significance-golden.json', import.meta.url), 'utf8'),
);
const cases = golden.cases.map((c) => ({ ...c, differences: Float64Array.from(c.x, (x, i) => x - c.y[i]!) }));

describe('against scipy', () => {
  it('the t distribution, to 1e-10 relative', () => {
    expect(golden.tails.length).toBeGreaterThan(60);
    for (const { t, df, p } of golden.tails) {
      expect(Math.abs(studentTTwoSided(t, df) / p - 1), `t ${t}, df ${df}`).toBeLessThan(1e-10);
    }
  });

  it('the t distribution with one and two degrees of freedom, in closed form', () => {
    for (const t of [1e-12, 1e-8, 0.003, 0.5, -1, 12]) {
      const size = Math.abs(t);
      expect(studentTTwoSided(t, 1)).toBeCloseTo(1 - (2 / Math.PI) * Math.atan(size), 13);
      expect(studentTTwoSided(t, 2)).toBeCloseTo(1 - size / Math.sqrt(2 + t * t), 13);
    }
    expect(studentTTwoSided(-Infinity, 3)).toBe(0);
  });

  it.each(cases)('paired t-test: $name', ({ differences, t, tPValue }) => {
    const test = pairedTTest(differences);
    expect(test.t / t).toBeCloseTo(1, 10);
    expect(test.pValue / tPValue).toBeCloseTo(1, 10);
    expect(test.degreesOfFreedom).toBe(differences.length - 1);
  });

  it.each(cases)('randomisation test: $name', ({ differences, exact, permutationPValue }) => {
    const samples = 40_000;
    const test = randomisationTest(differences, { samples, seed: 3 });
    expect(test.exact).toBe(exact);
    if (exact) expect(test.pValue).toBeCloseTo(permutationPValue, 12);
    else {
      // Two estimates of one probability, from 40,000 and from 200,000 samples: five standard errors.
      const error = Math.sqrt((permutationPValue * (1 - permutationPValue)) / samples) * Math.sqrt(1 + 1 / 5);
      expect(Math.abs(test.pValue - permutationPValue)).toBeLessThan(5 * error);
    }
  });

  it.each(cases.filter((c) => !c.exact))('bootstrap interval: $name', ({ differences, interval }) => {
    const { low, high } = bootstrapInterval(differences, { samples: 20_000, seed: 5 });
    // The end points are quantiles of 20,000 means: their own error is about 1.5 % of the width.
    const width = interval[1] - interval[0];
    expect(Math.abs(low - interval[0])).toBeLessThan(0.03 * width);
    expect(Math.abs(high - interval[1])).toBeLessThan(0.03 * width);
  });
});

describe('randomisationTest', () => {
  it('counts all patterns by hand: 3 of 1, 1, 1 keep the largest sum only twice', () => {
    expect(randomisationTest(Float64Array.of(1, 1, 1))).toEqual({ pValue: 2 / 8, samples: 8, exact: true });
    expect(randomisationTest(Float64Array.of(1, 1, 1, 0, 0))).toEqual({
      pValue: 2 / 8,
      samples: 8,
      exact: true,
    });
    expect(randomisationTest(new Float64Array(50))).toEqual({ pValue: 1, samples: 1, exact: true });
  });

  it('is never 0 when sampled, and the same for the same seed', () => {
    const clear = new Float64Array(400).fill(0.1);
    expect(randomisationTest(clear, { samples: 999 }).pValue).toBe(1 / 1000);
    const { differences } = cases[3]!;
    const p = (seed: number) => randomisationTest(differences, { seed, samples: 1000 }).pValue;
    expect(p(1)).toBe(p(1));
    expect(new Set([1, 2, 3, 4, 5].map(p)).size).toBeGreaterThan(1);
  });

  it('is fair under the null hypothesis: p-values of noise are spread evenly', () => {
    let below = 0;
    for (let trial = 0; trial < 200; trial++) {
      const noise = new Float32Array(40);
      normal(rngKey(trial, 0, 'test'), noise);
      if (randomisationTest(Float64Array.from(noise), { samples: 200, seed: trial }).pValue <= 0.2) below++;
    }
    expect(below / 200).toBeGreaterThan(0.1);
    expect(below / 200).toBeLessThan(0.3);
  });
});

describe('pairedTTest without spread', () => {
  it('gives p 0 for equal differences and p 1 for zeros', () => {
    expect(pairedTTest(Float64Array.of(0.25, 0.25))).toEqual({ t: Infinity, degreesOfFreedom: 1, pValue: 0 });
    expect(pairedTTest(Float64Array.of(0, 0, 0))).toEqual({ t: 0, degreesOfFreedom: 2, pValue: 1 });
  });
});

describe('compareRuns', () => {
  const qrels: Qrels = new Map(['q1', 'q2', 'q3', 'q4'].map((q) => [q, new Map([['a', 1]])]));
  const run = (rankings: Record<string, string>): Run =>
    new Map(
      Object.entries(rankings).map(([q, docs]) => [q, [...docs].map((docId, i) => ({ docId, score: -i }))]),
    );
  const a = run({ q1: 'ab', q2: 'ab', q3: 'ba' });
  const b = run({ q1: 'ba', q2: 'ab', q3: 'ab', q4: 'ba' });

  it('pairs the queries, missing ones as zero', () => {
    expect(compareRuns(qrels, a, b, 'MRR@10', { seed: 1 })).toMatchObject({
      metric: 'mrr@10',
      queries: 4,
      meanA: 2.5 / 4,
      meanB: 3 / 4,
      difference: -0.125,
      wins: 1,
      losses: 2,
      ties: 1,
      randomisation: { pValue: 1, samples: 8, exact: true },
    });
  });

  it('pairs only queries with results in both runs under skip, and is antisymmetric', () => {
    const options = { missingQueries: 'skip', samples: 500 } as const;
    const forward = compareRuns(qrels, a, b, 'mrr', options);
    const backward = compareRuns(qrels, b, a, 'mrr', options);
    expect(forward).toMatchObject({ queries: 3, difference: 0, wins: 1, losses: 1, ties: 1 });
    expect(backward.difference).toBeCloseTo(-forward.difference, 14);
    expect(backward.interval.low).toBeCloseTo(-forward.interval.high, 1);
  });

  it('refuses too few queries and invalid options', () => {
    expect(() => compareRuns(qrels, a, b, 'ndgc@10')).toThrow(UsageError);
    expect(() => compareRuns(qrels, a, b, 'mrr', { samples: 0 })).toThrow(/samples must be a whole number/);
    expect(() => compareRuns(qrels, a, b, 'mrr', { confidence: 95 })).toThrow(
      /confidence must be between 0 and 1/,
    );
    const single: Qrels = new Map([['q1', new Map([['a', 1]])]]);
    expect(() => compareRuns(single, a, b, 'mrr')).toThrow(/at least two queries, got 1/);
    expect(() => randomisationTest(Float64Array.of(1, Number.NaN))).toThrow(UndriftError);
  });
});
