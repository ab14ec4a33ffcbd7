import { describe, expect, it } from 'vitest';
import { normal, rngKey } from '../util/rng.ts';
import { refitThreshold } from './score-threshold.ts';

/** Results of 200 queries, 10 each, with scores of a normal distribution. */
function results(mean: number, spread: number, key: number) {
  const noise = new Float32Array(2000);
  normal(rngKey(key, 0, 'scores'), noise);
  return Array.from({ length: 200 }, (_, query) => {
    const z = Array.from(noise.subarray(query * 10, query * 10 + 10)).sort((a, b) => b - a);
    // A result is relevant from 1 standard deviation on.
    return { scores: z.map((value) => mean + spread * value), relevant: z.map((value) => value >= 1) };
  });
}

describe('a threshold of scores', () => {
  it('lets as many results pass in the new space', () => {
    const found = refitThreshold(results(0.5, 0.1, 1), results(0.7, 0.05, 2), 0.6);
    // One standard deviation above the mean, which 15.9 % of a normal distribution pass.
    expect(found.value).toBeCloseTo(0.159, 1);
    expect(found.to).toBeCloseTo(0.75, 2);
    const [low, high] = found.interval!;
    expect(low).toBeLessThan(found.to!);
    expect(high).toBeGreaterThan(found.to!);
    expect(high - low).toBeLessThan(0.02);
  });

  it('is itself where the scores are the same', () => {
    const scores = results(0.5, 0.1, 1);
    const found = refitThreshold(scores, scores, 0.55);
    const all = scores.flatMap((query) => query.scores);
    const passing = (threshold: number) => all.filter((score) => score >= threshold).length;
    expect(passing(found.to!)).toBe(passing(0.55));
  });

  it('keeps the precision of those that pass', () => {
    const options = { keep: 'precision' } as const;
    const found = refitThreshold(results(0.5, 0.1, 1), results(0.7, 0.05, 2), 0.6, options);
    // All that are one standard deviation above the mean are relevant, and no other.
    expect(found.value).toBe(1);
    expect(found.to).toBeCloseTo(0.75, 2);
    const lower = refitThreshold(results(0.5, 0.1, 1), results(0.7, 0.05, 2), 0.55, options);
    expect(lower.value).toBeLessThan(0.6);
    expect(lower.to).toBeCloseTo(0.725, 2);
  });

  it('is null where all or none of the results pass', () => {
    const [from, to] = [results(0.5, 0.1, 1), results(0.7, 0.05, 2)];
    expect(refitThreshold(from, to, 2)).toEqual({ from: 2, to: null, interval: null, value: 0 });
    expect(refitThreshold(from, to, -2)).toMatchObject({ to: null, interval: null, value: 1 });
    expect(refitThreshold(from, to, 2, { keep: 'precision' })).toMatchObject({ to: null });
  });

  it('gives the same interval for the same seed', () => {
    const fit = (seed: number) => refitThreshold(results(0.5, 0.1, 1), results(0.7, 0.05, 2), 0.6, { seed });
    expect(fit(3)).toEqual(fit(3));
    expect(fit(3).interval).not.toEqual(fit(4).interval);
  });
});
