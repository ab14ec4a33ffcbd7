import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { symmetricSoftmax } from './symmetric-softmax.ts';

const logSum = (...scores: number[]) => Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0));

describe('symmetricSoftmax', () => {
  // The third document is a negative, so no query is predicted from it.
  const scores = [
    [2, 1, 0.5],
    [-1, 3, 0],
  ];

  it('is the mean of both directions', async () => {
    const { loss } = await lossAndGradients({ scores: f32([2, 3], scores.flat()) }, ({ scores }) => ({
      loss: symmetricSoftmax(scores!),
    }));
    const there = (logSum(2, 1, 0.5) - 2 + logSum(-1, 3, 0) - 3) / 2;
    const back = (logSum(2, -1) - 2 + logSum(1, 3) - 3) / 2;
    expect(loss).toBeCloseTo((there + back) / 2, 6);
  });

  it('leaves a known positive out in both directions', async () => {
    const inputs = {
      scores: f32([2, 3], scores.flat()),
      allowed: hostTensor('bool', [2, 3], Uint8Array.of(1, 0, 1, 1, 1, 1)),
    };
    const { loss, gradients } = await lossAndGradients(inputs, ({ scores, allowed }) => ({
      loss: symmetricSoftmax(scores!, { allowed: allowed! }),
    }));
    const there = (logSum(2, 0.5) - 2 + logSum(-1, 3, 0) - 3) / 2;
    const back = (logSum(2, -1) - 2 + logSum(3) - 3) / 2;
    expect(loss).toBeCloseTo((there + back) / 2, 6);
    expect(gradients.scores![1]).toBe(0);
    expect(Math.abs(gradients.scores![0]!)).toBeGreaterThan(0.01);
  });

  it('agrees with finite differences, and stands scores of any size', async () => {
    await gradcheck({ scores: { shape: ['b', 'c'], dims: [3, 5] } }, ({ scores }) =>
      symmetricSoftmax(scores!),
    );
    const { loss } = await lossAndGradients(
      { scores: f32([2, 2], [1e6, -1e6, -1e6, 1e6]) },
      ({ scores }) => ({
        loss: symmetricSoftmax(scores!),
      }),
    );
    expect(loss).toBe(0);
  });
});
