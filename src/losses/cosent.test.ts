import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { cosent } from './cosent.ts';

const evaluateLoss = (scores: number[], labels: number[]) =>
  lossAndGradients(
    { scores: f32([scores.length], scores), labels: f32([labels.length], labels) },
    ({ scores, labels }) => ({ loss: cosent(scores!, labels!) }),
  );

describe('cosent', () => {
  it('is log(1 + violations), without ties', async () => {
    const scores = [1, 2, 0.5];
    const { loss, gradients } = await evaluateLoss(scores, [3, 1, 1]);
    const terms = [Math.exp(2 - 1), Math.exp(0.5 - 1)];
    const total = 1 + terms[0]! + terms[1]!;
    expect(loss).toBeCloseTo(Math.log(total), 6);
    const expected = [-(terms[0]! + terms[1]!) / total, terms[0]! / total, terms[1]! / total];
    for (const [i, value] of expected.entries()) expect(gradients.scores![i]).toBeCloseTo(value, 6);
    expect(gradients.labels).toEqual([0, 0, 0]);
  });

  it('depends on the order of the labels only', async () => {
    const scores = [0.3, -1, 2, 0.7];
    const one = await evaluateLoss(scores, [0, 1, 2, 3]);
    const other = await evaluateLoss(scores, [-50, 1, 1.5, 1e6]);
    expect(other).toEqual({ ...one, gradients: { ...one.gradients } });
  });

  it('is 0, with zero gradient, if all labels are equal', async () => {
    const { loss, gradients } = await evaluateLoss([1, 2, 3], [1, 1, 1]);
    expect(loss).toBe(0);
    expect(gradients.scores!.map(Math.abs)).toEqual([0, 0, 0]);
  });

  it('agrees with finite differences, and is finite for scores of any size', async () => {
    await gradcheck({ scores: { shape: [5] } }, ({ scores }) =>
      cosent(scores!, scores!.graph.constant('f32', [5], Float32Array.of(1, 0, 0, 3, 2))),
    );
    const { loss, gradients } = await evaluateLoss([-1e6, 1e6], [1, 0]);
    expect(loss).toBeCloseTo(2e6, 0);
    expect(gradients.scores).toEqual([-1, 1]);
  });
});
