import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { candidateMarginal, type Marginal, posteriorDivergence } from './candidate-marginal.ts';

interface Golden {
  scores: number[][];
  tokens: number[][][];
  lengths: number[];
  allowed: boolean[][];
  cases: {
    marginal: Marginal;
    loss: number;
    divergence: number;
    scores: number[][];
    tokens: number[][][];
  }[];
}
// Made by tools/reference/candidate_marginal_golden.py.
const golden: Golden = JSON.parse(
  readFileSync(new URL('fixtures/candidate-marginal.json', import.meta.url), 'utf8'),
);
const flat = (values: unknown): number[] => [values].flat(3) as number[];
const [B, K, J] = [3, 4, 3];
const inputs = {
  scores: f32([B, K], flat(golden.scores)),
  tokens: f32([B, K, J], flat(golden.tokens)),
  allowed: hostTensor('bool', [B, K], Uint8Array.from(golden.allowed.flat(), Number)),
};
const build =
  (marginal: Marginal) =>
  ({ scores, tokens, allowed }: Record<string, Tensor>) => {
    const found = candidateMarginal(scores!, tokens!, { allowed, marginal });
    const { loss, logP, logPosterior, answers, likelihoods } = found;
    return { loss, logP, logPosterior, answers, likelihoods, divergence: posteriorDivergence(found) };
  };
const near = (found: readonly number[], expected: readonly number[]) => {
  expect(found.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i], `${i}`).toBeCloseTo(value, 5);
};

describe('candidateMarginal', () => {
  it.each(golden.cases)('$marginal: equals autograd in double precision', async (wanted) => {
    const { loss, gradients, others } = await lossAndGradients(inputs, build(wanted.marginal));
    expect(loss).toBeCloseTo(wanted.loss, 5);
    expect(others.divergence![0]).toBeCloseTo(wanted.divergence, 5);
    near(gradients.scores!, flat(wanted.scores));
    // Past the end of an answer, and in candidates that do not take part, a token is 0 and of no consequence.
    const counts = golden.allowed.flatMap((row, b) =>
      row.flatMap((kept) => Array.from({ length: J }, (_, t) => kept && t < golden.lengths[b]!)),
    );
    const kept = (values: readonly number[]) => values.filter((_, i) => counts[i]);
    near(kept(gradients.tokens!), kept(flat(wanted.tokens)));
  });

  it('has P − posterior as the gradient of the scores, and −posterior as that of each token', async () => {
    const { gradients, others } = await lossAndGradients(inputs, build('sequence'));
    const { logP, logPosterior } = others as { logP: number[]; logPosterior: number[] };
    for (let at = 0; at < B * K; at++) {
      const [p, posterior] = [Math.exp(logP[at]!), Math.exp(logPosterior[at]!)];
      expect(gradients.scores![at]).toBeCloseTo((p - posterior) / B, 6);
      for (let t = 0; t < J; t++) expect(gradients.tokens![at * J + t]).toBeCloseTo(-posterior / B, 6);
    }
  });

  it('is −log p of the answer where there is one candidate, whatever its score', async () => {
    const only = Uint8Array.from(golden.allowed.flat(), (_, at) => (at % K === 0 ? 1 : 0));
    for (const marginal of ['sequence', 'token'] as const) {
      const { loss, gradients } = await lossAndGradients(
        { ...inputs, allowed: hostTensor('bool', [B, K], only) },
        build(marginal),
      );
      const nats = golden.tokens.map((each) => -each[0]!.reduce((sum, value) => sum + value, 0));
      expect(loss).toBeCloseTo(nats.reduce((a, b) => a + b, 0) / B, 5);
      near(gradients.scores!, new Array(B * K).fill(0));
    }
  });

  it('is the same for both sums where answers have one token', async () => {
    const one = {
      ...inputs,
      tokens: f32(
        [B, K, 1],
        golden.tokens.flat().map(([first]) => first!),
      ),
    };
    const [sequence, token] = await Promise.all([
      lossAndGradients(one, build('sequence')),
      lossAndGradients(one, build('token')),
    ]);
    expect(sequence.loss).toBeCloseTo(token.loss, 6);
    near(sequence.gradients.scores!, token.gradients.scores!);
  });
});
