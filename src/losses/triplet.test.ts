import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { fill } from '../graph/ops.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { distances } from './distances.ts';
import { triplet } from './triplet.ts';

describe('triplet', () => {
  const positive = f32([2], [0.4, 0.1]);

  it('is the mean violation of the margin', async () => {
    const inputs = { positive, negatives: f32([2, 2], [0.3, 0.9, 0.5, 0.2]) };
    const { loss, gradients } = await lossAndGradients(inputs, ({ positive, negatives }) => ({
      loss: triplet({ positive: positive!, negatives: negatives! }, { margin: 0.2 }),
    }));
    // 0.4 − 0.3 + 0.2, 0.4 − 0.9 + 0.2, 0.1 − 0.5 + 0.2, 0.1 − 0.2 + 0.2
    expect(loss).toBeCloseTo((0.3 + 0 + 0 + 0.1) / 4, 6);
    expect(gradients.positive).toEqual([0.25, 0.25]);
    expect(gradients.negatives).toEqual([-0.25, 0, 0, -0.25]);
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const inputs = {
      positive,
      negatives: f32([2, 2], [0.3, Number.NaN, 1e30, Number.NEGATIVE_INFINITY]),
      allowed: hostTensor('bool', [2, 2], Uint8Array.of(1, 0, 0, 0)),
    };
    const { loss, gradients } = await lossAndGradients(inputs, ({ positive, negatives, allowed }) => ({
      loss: triplet({ positive: positive!, negatives: negatives!, allowed }, { margin: 0.2 }),
    }));
    expect(loss).toBeCloseTo(0.3 / 2, 6);
    expect(gradients.negatives).toEqual([-0.5, 0, 0, 0]);
    expect(gradients.positive).toEqual([0.5, 0]);
  });

  it('agrees with finite differences where no triplet is at the margin', async () => {
    const inputs = {
      positive: { shape: [2], low: 1, high: 2 },
      negatives: { shape: [2, 3], low: 0, high: 1 },
    };
    await gradcheck(inputs, ({ positive, negatives }) =>
      triplet({ positive: positive!, negatives: negatives! }, { margin: 0.5 }),
    );
  });
});

describe('distances', () => {
  const x = [
    [3, 4],
    [1, 0],
  ];
  const y = [
    [4, 3],
    [0, -2],
    [3, 4],
  ];

  it.each([
    ['cosine', (a: number[], b: number[]) => 1 - dot(a, b) / Math.hypot(...a) / Math.hypot(...b)],
    ['euclidean', (a: number[], b: number[]) => Math.hypot(...a.map((v, i) => v - b[i]!))],
  ] as const)('%s', async (kind, distance) => {
    const inputs = { x: f32([2, 2], x.flat()), y: f32([3, 2], y.flat()) };
    const { others, gradients } = await lossAndGradients(inputs, ({ x, y }) => {
      const d = distances(x!, y!, kind);
      return { loss: triplet({ positive: fill(x!.graph, 0, [2]), negatives: d }, { margin: 9 }), d };
    });
    const expected = x.flatMap((a) => y.map((b) => distance(a, b)));
    for (const [i, value] of expected.entries()) expect(others.d![i]).toBeCloseTo(value, 3);
    // The gradient of a distance of 0 is 0, not NaN.
    expect(gradients.y!.every(Number.isFinite)).toBe(true);
  });

  it.each(['cosine', 'euclidean'] as const)('%s agrees with finite differences', async (kind) => {
    await gradcheck(
      {
        x: { shape: ['b', 4], dims: [3, 4], low: 1, high: 2 },
        y: { shape: ['c', 4], dims: [2, 4], low: -2, high: -1 },
      },
      ({ x, y }) => distances(x!, y!, kind),
    );
  });
});

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
