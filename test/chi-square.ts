import { expect } from 'vitest';

/**
 * Expects observed counts to follow a distribution. Cells with an expectation below 5 are merged.
 *
 * χ² = Σ (observed − expected)² / expected is judged by the Wilson-Hilferty approximation, in which
 * (χ²/n)^(1/3) is nearly normal. The limit of 4 standard deviations is exceeded by chance for one in 30,000
 * seeds, and the seeds of the tests are fixed.
 */
export function expectDistribution(observed: ArrayLike<number>, probabilities: ArrayLike<number>): void {
  let draws = 0;
  for (let i = 0; i < observed.length; i++) draws += observed[i]!;
  let [chiSquare, cells, restObserved, restExpected] = [0, 0, 0, 0];
  for (let i = 0; i < observed.length; i++) {
    const expected = probabilities[i]! * draws;
    if (expected === 0) expect(observed[i], `cell ${i} is impossible`).toBe(0);
    if (expected < 5) {
      restObserved += observed[i]!;
      restExpected += expected;
      continue;
    }
    chiSquare += (observed[i]! - expected) ** 2 / expected;
    cells += 1;
  }
  if (restExpected >= 1) {
    chiSquare += (restObserved - restExpected) ** 2 / restExpected;
    cells += 1;
  }
  const freedom = cells - 1;
  expect(freedom, 'cells to compare').toBeGreaterThan(0);
  const spread = 2 / (9 * freedom);
  const deviations = (Math.cbrt(chiSquare / freedom) - (1 - spread)) / Math.sqrt(spread);
  expect(Math.abs(deviations), `χ² = ${chiSquare} with ${freedom} degrees of freedom`).toBeLessThan(4);
}
