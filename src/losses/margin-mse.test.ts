import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { marginMse } from './margin-mse.ts';

const inputs = {
  positive: f32([2], [0.9, 0.2]),
  negatives: f32([2, 2], [0.5, 0.8, 0.1, -0.3]),
  teacherPositive: f32([2], [10, 3]),
  teacherNegatives: f32([2, 2], [9, 10.5, 2.5, 4]),
};
const build = (t: Record<string, Tensor>) => ({
  loss: marginMse(
    { positive: t.positive!, negatives: t.negatives!, allowed: t.allowed },
    { positive: t.teacherPositive!, negatives: t.teacherNegatives! },
  ),
});

describe('marginMse', () => {
  // Margins of the student 0.4, 0.1, 0.1, 0.5; of the teacher 1, −0.5, 0.5, −1.
  const errors = [-0.6, 0.6, -0.4, 1.5];

  it('is the mean squared difference of the margins', async () => {
    const { loss, gradients } = await lossAndGradients(inputs, build);
    expect(loss).toBeCloseTo(errors.reduce((sum, e) => sum + e * e, 0) / 4, 6);
    for (const [i, e] of errors.entries()) expect(gradients.negatives![i]).toBeCloseTo((-2 * e) / 4, 6);
    expect(gradients.positive![0]).toBeCloseTo(0, 6);
    expect(gradients.positive![1]).toBeCloseTo((2 * 1.1) / 4, 6);
  });

  it('has no gradient to the teacher', async () => {
    const { gradients } = await lossAndGradients(inputs, build);
    expect(Math.max(...gradients.negatives!.map(Math.abs))).toBeGreaterThan(0.1);
    expect([...gradients.teacherPositive!, ...gradients.teacherNegatives!]).toEqual(new Array(6).fill(0));
  });

  it('a student that agrees up to a constant has no loss, and no gradient', async () => {
    const agreeing = {
      ...inputs,
      teacherPositive: f32([2], [5.75, -1]),
      positive: f32([2], [0.75, 2]),
      negatives: f32([2, 2], [0.5, -1, 4, 2]),
      teacherNegatives: f32([2, 2], [5.5, 4, 1, -1]),
    };
    const { loss, gradients } = await lossAndGradients(agreeing, build);
    expect(loss).toBe(0);
    expect(gradients.positive).toEqual([0, 0]);
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const masked = {
      ...inputs,
      negatives: f32([2, 2], [0.5, Number.NaN, 1e30, Number.POSITIVE_INFINITY]),
      allowed: hostTensor('bool', [2, 2], Uint8Array.of(1, 0, 0, 0)),
    };
    const { loss, gradients } = await lossAndGradients(masked, build);
    expect(loss).toBeCloseTo(0.36 / 2, 6);
    expect(gradients.negatives!.slice(1)).toEqual([0, 0, 0]);
    expect(gradients.negatives![0]).toBeCloseTo(0.6, 6);
    expect(gradients.positive![1]).toBe(0);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { positive: { shape: [2] }, negatives: { shape: [2, 3] } },
      ({ positive, negatives }) =>
        marginMse(
          { positive: positive!, negatives: negatives! },
          {
            positive: positive!.graph.constant('f32', [2], Float32Array.of(1, 2)),
            negatives: positive!.graph.constant('f32', [2, 3], Float32Array.of(0, 1, 2, 3, 4, 5)),
          },
        ),
      { tolerance: 4e-3 },
    );
  });
});
