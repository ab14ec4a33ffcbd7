import { describe, expect, it } from 'vitest';
import { normal, rngKey, uniform } from '../util/rng.ts';
import { divergenceBounds, softmaxDivergence } from './divergence.ts';

describe('softmaxDivergence', () => {
  it('of two outcomes is the textbook formula', () => {
    const [p, q] = [0.8, 0.3];
    const { kl, totalVariation, maxScoreError, scoreErrorRange } = softmaxDivergence(
      [Math.log(p), Math.log(1 - p)],
      [Math.log(q) + 5, Math.log(1 - q) + 5],
    );
    expect(kl).toBeCloseTo(p * Math.log(p / q) + (1 - p) * Math.log((1 - p) / (1 - q)), 12);
    expect(totalVariation).toBeCloseTo(0.5, 12);
    expect(maxScoreError).toBeCloseTo(5 + Math.log(0.7 / 0.2), 12);
    expect(scoreErrorRange).toBeCloseTo(Math.log(0.7 / 0.2) - Math.log(0.3 / 0.8), 12);
  });

  it('is 0 between equal scores, and finite for scores of any size', () => {
    expect(softmaxDivergence([1, 2, 3], [1, 2, 3])).toEqual({
      kl: 0,
      totalVariation: 0,
      maxScoreError: 0,
      scoreErrorRange: 0,
    });
    expect(softmaxDivergence([1000, -1000], [-1000, 1000])).toMatchObject({ kl: 2000, totalVariation: 1 });
    expect(() => softmaxDivergence([1], [])).toThrow('1 fresh and 0 stale scores');
  });

  it('never exceeds its bounds, and reaches them (U5)', () => {
    const largest = { kl: 0, klByRange: 0, totalVariation: 0 };
    const cases = 20_000;
    const sizes = new Float32Array(3 * cases);
    uniform(rngKey(1, 0, 'sizes'), sizes);
    for (let i = 0; i < cases; i++) {
      const n = 2 + Math.floor(6 * sizes[3 * i]!);
      const drift = 4 * sizes[3 * i + 1]! ** 4;
      const values = new Float32Array(2 * n);
      normal(rngKey(2, i, 'scores'), values);
      // Half the cases have errors of ±ε only, of equal shares where the errors are: the worst there is.
      const worst = sizes[3 * i + 2]! < 0.5;
      const fresh = Float64Array.from({ length: n }, (_, j) => (worst ? 0 : 3 * values[j]!));
      const errors = Float64Array.from({ length: n }, (_, j) =>
        worst ? (j % 2 === 0 ? drift : -drift) : drift * values[n + j]!,
      );
      // Its mean under both softmaxes is what the bounds on the variation are about.
      if (worst) for (const [j, error] of errors.entries()) fresh[j]! -= error / 2;
      const divergence = softmaxDivergence(
        fresh,
        fresh.map((s, j) => s + errors[j]!),
      );
      const bounds = divergenceBounds(divergence);
      for (const [name, measured] of [
        ['kl', divergence.kl],
        ['klByRange', divergence.kl],
        ['totalVariation', divergence.totalVariation],
      ] as const) {
        // Where both are next to nothing, their ratio is one of rounding errors.
        if (bounds[name] < 1e-6) continue;
        largest[name] = Math.max(largest[name], measured / bounds[name]);
      }
      expect(bounds.klByRange).toBeLessThanOrEqual(bounds.kl * (1 + 1e-9));
    }
    for (const [name, ratio] of Object.entries(largest)) {
      expect(ratio, name).toBeLessThanOrEqual(1 + 1e-9);
      expect(ratio, name).toBeGreaterThan(0.99);
    }
  });
});
