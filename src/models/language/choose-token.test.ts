import { describe, expect, test } from 'vitest';
import { chooseToken, type TokenChoice } from './choose-token.ts';

const PROBABILITIES = [0.1, 0.4, 0.05, 0.25, 0.2];
const logits = Float32Array.from(PROBABILITIES, (p) => Math.log(p) + 3);

/** Shares of the tokens among choices with evenly spread random numbers. */
function shares(choice: Partial<TokenChoice>, of = logits): number[] {
  const n = 20_000;
  const counts = new Array(of.length).fill(0);
  for (let i = 0; i < n; i++)
    counts[chooseToken(of, { temperature: 1, topP: 1, ...choice }, (i + 0.5) / n)]++;
  return counts.map((count) => Math.round((1000 * count) / n) / 1000);
}

describe('chooseToken', () => {
  test('temperature 0 takes the most likely, the first of equals', () => {
    expect(chooseToken(logits, { temperature: 0, topP: 1 }, 0.99)).toBe(1);
    expect(chooseToken(Float32Array.of(1, 3, 3), { temperature: 0, topP: 1 }, 0.99)).toBe(1);
  });

  test('shares equal the probabilities', () => {
    expect(shares({})).toEqual(PROBABILITIES);
  });

  test('temperature sharpens and flattens', () => {
    const power = (t: number) => PROBABILITIES.map((p) => p ** (1 / t));
    for (const temperature of [0.5, 2]) {
      const total = power(temperature).reduce((a, b) => a + b);
      const expected = power(temperature).map((p) => p / total);
      for (const [i, share] of shares({ temperature }).entries())
        expect(Math.abs(share - expected[i]!)).toBeLessThan(1e-3);
    }
    // A temperature at which all but the best weigh nothing.
    expect(shares({ temperature: 1e-6 })).toEqual([0, 1, 0, 0, 0]);
  });

  test('topK keeps the most likely, of equals the first', () => {
    expect(shares({ topK: 2 })).toEqual([0, 0.615, 0, 0.385, 0]);
    expect(shares({ topK: 99 })).toEqual(PROBABILITIES);
    expect(shares({ topK: 2 }, Float32Array.of(0, 0, 0))).toEqual([0.5, 0.5, 0]);
  });

  test('topP keeps the fewest that reach the share', () => {
    expect(shares({ topP: 0.3 })).toEqual([0, 1, 0, 0, 0]);
    expect(shares({ topP: 0.6 })).toEqual([0, 0.615, 0, 0.385, 0]);
    expect(shares({ topP: 0.66 })).toEqual([0, 0.471, 0, 0.294, 0.235]);
    expect(shares({ topP: 0.999 })).toEqual(PROBABILITIES);
  });

  test('topP counts among those of topK', () => {
    // Of 0.4 and 0.25, the first has 0.615.
    expect(shares({ topK: 2, topP: 0.6 })).toEqual([0, 1, 0, 0, 0]);
    expect(shares({ topK: 2, topP: 0.62 })).toEqual([0, 0.615, 0, 0.385, 0]);
  });
});
