import { describe, expect, it } from 'vitest';
import { marginalLikelihood } from './held-out-answers.ts';

describe('marginalLikelihood', () => {
  const weights = [0.25, 0.75];
  const tokens = [
    [0.5, 0.125],
    [0.0625, 0.5],
  ];
  const logs = (values: readonly number[]) => Float32Array.from(values, Math.log);
  const given = [weights.map(Math.log), tokens.map(logs)] as const;

  it('sums over the prompts once for the whole answer', () => {
    const expected = Math.log(0.25 * 0.5 * 0.125 + 0.75 * 0.0625 * 0.5);
    expect(marginalLikelihood(...given)).toBeCloseTo(expected, 6);
    expect(marginalLikelihood(...given, 'sequence')).toBeCloseTo(expected, 6);
  });

  it('sums over the prompts for each token', () => {
    const expected = Math.log(0.25 * 0.5 + 0.75 * 0.0625) + Math.log(0.25 * 0.125 + 0.75 * 0.5);
    expect(marginalLikelihood(...given, 'token')).toBeCloseTo(expected, 6);
  });

  it('is the likelihood of the answer given a single prompt', () => {
    for (const marginal of ['sequence', 'token'] as const)
      expect(marginalLikelihood([0], [given[1][0]!], marginal)).toBeCloseTo(Math.log(0.0625), 6);
  });
});
