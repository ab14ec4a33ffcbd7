import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { marginalLikelihood } from './marginal-likelihood.ts';

const softmax = (scores: readonly number[]) => {
  const total = scores.reduce((sum, s) => sum + Math.exp(s), 0);
  return scores.map((s) => Math.exp(s) / total);
};
const build = (t: Record<string, Tensor>) => ({
  loss: marginalLikelihood(
    { positive: t.positive!, negatives: t.negatives!, allowed: t.allowed },
    { positive: t.textPositive!, negatives: t.textNegatives! },
  ),
});
const inputs = {
  positive: f32([2], [1, -0.5]),
  negatives: f32([2, 2], [0.5, 2, 0, 1]),
  textPositive: f32([2], [-6, -2]),
  textNegatives: f32([2, 2], [-1, -4, -3, -2.5]),
};
const scores = [
  [1, 0.5, 2],
  [-0.5, 0, 1],
];
const texts = [
  [-6, -1, -4],
  [-2, -3, -2.5],
];

describe('marginalLikelihood', () => {
  it('is the likelihood of the mixture, with prior minus posterior as gradient', async () => {
    const { loss, gradients } = await lossAndGradients(inputs, build);
    const nats = scores.map(
      (s, i) => -Math.log(softmax(s).reduce((sum, p, c) => sum + p * Math.exp(texts[i]![c]!), 0)),
    );
    expect(loss).toBeCloseTo((nats[0]! + nats[1]!) / 2, 6);
    for (const i of [0, 1]) {
      const prior = softmax(scores[i]!);
      const posterior = softmax(scores[i]!.map((s, c) => s + texts[i]![c]!));
      expect(gradients.positive![i]).toBeCloseTo((prior[0]! - posterior[0]!) / 2, 6);
      for (const c of [1, 2]) {
        expect(gradients.negatives![2 * i + c - 1]).toBeCloseTo((prior[c]! - posterior[c]!) / 2, 6);
      }
    }
    expect([...gradients.textPositive!, ...gradients.textNegatives!]).toEqual(new Array(6).fill(0));
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const { loss, gradients } = await lossAndGradients(
      {
        ...inputs,
        negatives: f32([2, 2], [0.5, 99, 0, 1]),
        textNegatives: f32([2, 2], [-1, 50, -3, -2.5]),
        allowed: hostTensor('bool', [2, 2], Uint8Array.from([1, 0, 1, 1])),
      },
      build,
    );
    const first = -Math.log(softmax([1, 0.5]).reduce((sum, p, c) => sum + p * Math.exp(texts[0]![c]!), 0));
    const second = -Math.log(softmax(scores[1]!).reduce((sum, p, c) => sum + p * Math.exp(texts[1]![c]!), 0));
    expect(loss).toBeCloseTo((first + second) / 2, 5);
    expect(gradients.negatives![1]).toBe(0);
  });
});
