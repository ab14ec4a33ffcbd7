import { describe, expect, it } from 'vitest';
import { f32, i64 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { concat, unsqueeze } from '../graph/ops.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { pairwise } from './pairwise.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const evaluateLoss = (positive: number[], negatives: number[][], allowed?: number[][]) => {
  const dims = [negatives.length, negatives[0]!.length];
  return lossAndGradients(
    {
      positive: f32([positive.length], positive),
      negatives: f32(dims, negatives.flat()),
      ...(allowed && { allowed: hostTensor('bool', dims, Uint8Array.from(allowed.flat())) }),
    },
    ({ positive, negatives, allowed }) => ({
      loss: pairwise({ positive: positive!, negatives: negatives!, allowed }),
    }),
  );
};

describe('pairwise', () => {
  const positive = [2, -1];
  const negatives = [
    [1, 3, 2],
    [-4, 0, 5],
  ];

  it('is the mean of log(1 + e^(s − s⁺)), with the logistic function as gradient', async () => {
    const { loss, gradients } = await evaluateLoss(positive, negatives);
    const margins = negatives.flatMap((row, i) => row.map((s) => s - positive[i]!));
    expect(loss).toBeCloseTo(margins.reduce((sum, m) => sum + Math.log1p(Math.exp(m)), 0) / 6, 6);
    for (const [i, m] of margins.entries()) expect(gradients.negatives![i]).toBeCloseTo(sigmoid(m) / 6, 6);
    for (const i of [0, 1]) {
      const own = margins.slice(3 * i, 3 * i + 3).reduce((sum, m) => sum + sigmoid(m), 0);
      expect(gradients.positive![i]).toBeCloseTo(-own / 6, 6);
    }
    expect(Math.max(...gradients.negatives!)).toBeGreaterThan(0.05);
  });

  it('with one negative is the cross-entropy over [s⁺, s], as in ANCE', async () => {
    const inputs = { positive: f32([2], positive), negatives: f32([2, 1], [1, 5]), target: i64([2], [0, 0]) };
    const ours = await lossAndGradients(inputs, ({ positive, negatives }) => ({
      loss: pairwise({ positive: positive!, negatives: negatives! }),
    }));
    const theirs = await lossAndGradients(inputs, ({ positive, negatives, target }) => ({
      loss: softmaxCrossEntropy(concat([unsqueeze(positive!, 1), negatives!], 1), target!),
    }));
    expect(ours.loss).toBeCloseTo(theirs.loss, 6);
    for (const name of ['positive', 'negatives'])
      for (const [i, g] of theirs.gradients[name]!.entries())
        expect(ours.gradients[name]![i]).toBeCloseTo(g, 6);
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const strange = [
      [1, Number.NaN, 2],
      [Number.POSITIVE_INFINITY, 1e30, Number.NaN],
    ];
    const allowed = [
      [1, 0, 1],
      [0, 0, 0],
    ];
    const { loss, gradients } = await evaluateLoss(positive, strange, allowed);
    expect(loss).toBeCloseTo((Math.log1p(Math.exp(-1)) + Math.LN2) / 4, 6);
    expect(gradients.negatives!.filter((_, i) => ![0, 2].includes(i))).toEqual([0, 0, 0, 0]);
    expect(gradients.negatives![0]).toBeCloseTo(sigmoid(-1) / 4, 6);
    expect(gradients.positive![1]).toBe(0);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { positive: { shape: ['b'], dims: [2] }, negatives: { shape: ['b', 'k'], dims: [2, 3] } },
      ({ positive, negatives }) => pairwise({ positive: positive!, negatives: negatives! }),
    );
  });

  it('is finite for margins of any size', async () => {
    const { loss, gradients } = await evaluateLoss([1e6, -1e6, 0], [[0], [1e6], [0]]);
    expect(loss).toBeCloseTo((0 + 2e6 + Math.LN2) / 3, -1);
    expect(gradients.negatives!.map((g) => 3 * g)).toEqual([0, 1, 0.5].map((g) => 3 * Math.fround(g / 3)));
  });
});
