import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { klDistillation } from './kl-distillation.ts';

const softmax = (scores: readonly number[]) => {
  const total = scores.reduce((sum, s) => sum + Math.exp(s), 0);
  return scores.map((s) => Math.exp(s) / total);
};
const build = (t: Record<string, Tensor>) => ({
  loss: klDistillation(
    { positive: t.positive!, negatives: t.negatives!, allowed: t.allowed },
    { positive: t.teacherPositive!, negatives: t.teacherNegatives! },
    { temperature: 2 },
  ),
});
const inputs = {
  positive: f32([2], [1, -0.5]),
  negatives: f32([2, 2], [0.5, 2, 0, 1]),
  teacherPositive: f32([2], [6, 2]),
  teacherNegatives: f32([2, 2], [1, 4, 3, -2]),
};

describe('klDistillation', () => {
  const students = [
    [1, 0.5, 2],
    [-0.5, 0, 1],
  ].map(softmax);
  const teachers = [
    [3, 0.5, 2],
    [1, 1.5, -1],
  ].map(softmax);

  it('is the divergence of the distributions, with q − p as gradient', async () => {
    const { loss, gradients } = await lossAndGradients(inputs, build);
    const divergence = teachers.flatMap((p, i) =>
      p.map((value, c) => value * Math.log(value / students[i]![c]!)),
    );
    expect(loss).toBeCloseTo(divergence.reduce((a, b) => a + b) / 2, 6);
    for (const i of [0, 1]) {
      expect(gradients.positive![i]).toBeCloseTo((students[i]![0]! - teachers[i]![0]!) / 2, 6);
      for (const c of [1, 2]) {
        const expected = (students[i]![c]! - teachers[i]![c]!) / 2;
        expect(gradients.negatives![2 * i + c - 1]).toBeCloseTo(expected, 6);
      }
    }
  });

  it('has no gradient to the teacher', async () => {
    const { gradients } = await lossAndGradients(inputs, build);
    expect(Math.max(...gradients.negatives!.map(Math.abs))).toBeGreaterThan(0.05);
    expect([...gradients.teacherPositive!, ...gradients.teacherNegatives!]).toEqual(new Array(6).fill(0));
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const { loss, gradients } = await lossAndGradients(
      {
        ...inputs,
        negatives: f32([2, 2], [0.5, Number.NaN, 1e30, Number.POSITIVE_INFINITY]),
        teacherNegatives: f32([2, 2], [1, Number.NaN, Number.NaN, 5]),
        allowed: hostTensor('bool', [2, 2], Uint8Array.of(1, 0, 0, 0)),
      },
      build,
    );
    const [p, q] = [softmax([3, 0.5]), softmax([1, 0.5])];
    expect(loss).toBeCloseTo(p.reduce((sum, v, c) => sum + v * Math.log(v / q[c]!), 0) / 2, 6);
    expect(gradients.negatives![0]).toBeCloseTo((q[1]! - p[1]!) / 2, 6);
    expect(gradients.negatives!.slice(1)).toEqual([0, 0, 0]);
  });

  it('agrees with finite differences, and is finite for scores of any size', async () => {
    await gradcheck({ positive: { shape: [2] }, negatives: { shape: [2, 3] } }, ({ positive, negatives }) => {
      const fixed = (dims: number[], values: number[]) =>
        positive!.graph.constant('f32', dims, Float32Array.from(values));
      return klDistillation(
        { positive: positive!, negatives: negatives! },
        { positive: fixed([2], [1, 2]), negatives: fixed([2, 3], [0, 1, 2, 3, 4, 5]) },
      );
    });
    const far = { ...inputs, positive: f32([2], [1e6, -1e6]), teacherPositive: f32([2], [1e6, -1e6]) };
    const { loss, gradients } = await lossAndGradients(far, build);
    expect(loss).toBeLessThan(1);
    expect(gradients.negatives!.every(Number.isFinite)).toBe(true);
  });
});
