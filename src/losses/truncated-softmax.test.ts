import { describe, expect, it } from 'vitest';
import { f32, i64 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';
import { truncatedSoftmax } from './truncated-softmax.ts';

const SCORES = [
  [1.5, -0.5, 3, 0.25],
  [-2, 4, 0, 1],
];
const TARGET = [0, 3];

const evaluateLoss = (setting: {
  logQ?: number[][] | number[];
  allowed?: number[][];
  scores?: number[][];
}) => {
  const { logQ, allowed, scores = SCORES } = setting;
  const shared = logQ && !Array.isArray(logQ[0]);
  return lossAndGradients(
    {
      scores: f32([2, 4], scores.flat()),
      target: i64([2], TARGET),
      ...(logQ && { logQ: f32(shared ? [4] : [2, 4], (logQ as number[][]).flat()) }),
      ...(allowed && { allowed: hostTensor('bool', [2, 4], Uint8Array.from(allowed.flat())) }),
    },
    ({ scores, target, logQ, allowed }) => ({
      loss: truncatedSoftmax(scores!, target!, { ...(logQ && { logQ }), ...(allowed && { allowed }) }),
    }),
  );
};

/** The definition, in double precision. */
function reference(logQ: (i: number, j: number) => number, allowed?: number[][]) {
  let loss = 0;
  const gradient = SCORES.flatMap((row, i) => {
    const weights = row.map((s, j) =>
      allowed?.[i]?.[j] === 0 ? 0 : Math.exp(s - (j === TARGET[i] ? 0 : logQ(i, j))),
    );
    const total = weights.reduce((a, b) => a + b);
    loss += (Math.log(total) - row[TARGET[i]!]!) / 2;
    return weights.map((w, j) => (w / total - (j === TARGET[i] ? 1 : 0)) / 2);
  });
  return { loss, gradient };
}

function expectClose(ours: Awaited<ReturnType<typeof evaluateLoss>>, expected: ReturnType<typeof reference>) {
  expect(ours.loss).toBeCloseTo(expected.loss, 5);
  for (const [i, value] of expected.gradient.entries())
    expect(ours.gradients.scores![i], `[${i}]`).toBeCloseTo(value, 6);
  expect(Math.max(...ours.gradients.scores!.map(Math.abs))).toBeGreaterThan(0.05);
}

describe('truncatedSoftmax', () => {
  it('without a correction is the cross-entropy over the list', async () => {
    expectClose(
      await evaluateLoss({}),
      reference(() => 0),
    );
    const allowed = [
      [1, 0, 1, 1],
      [1, 0, 0, 1],
    ];
    expectClose(
      await evaluateLoss({ allowed }),
      reference(() => 0, allowed),
    );
  });

  it('takes log Q from every candidate but the positive', async () => {
    const shared = [0.5, -1, -2, 0.25];
    expectClose(
      await evaluateLoss({ logQ: shared }),
      reference((_, j) => shared[j]!),
    );
    const own = [
      [0.5, -1, -2, 0.25],
      [3, 0, 1, -1],
    ];
    const allowed = [
      [1, 1, 0, 1],
      [0, 1, 1, 1],
    ];
    expectClose(
      await evaluateLoss({ logQ: own, allowed }),
      reference((i, j) => own[i]![j]!, allowed),
    );
  });

  it('with the right Q, the sum is unbiased for that over all documents', async () => {
    // Document j of four is drawn with probability Q_j. Mean of e^(s − log Q) over all lists, by probability.
    const Q = [0.1, 0.4, 0.3, 0.2];
    const scores = [0.3, 1, -0.5, 2];
    let mean = 0;
    for (const [j, q] of Q.entries()) {
      const { loss } = await lossAndGradients(
        {
          scores: f32([1, 2], [0, scores[j]!]),
          target: i64([1], [0]),
          logQ: f32([1, 2], [7, Math.log(q)]), // the positive's is not used
        },
        ({ scores, target, logQ }) => ({ loss: truncatedSoftmax(scores!, target!, { logQ: logQ! }) }),
      );
      mean += q * (Math.exp(loss) - 1);
    }
    const full = scores.reduce((sum, s) => sum + Math.exp(s), 0);
    expect(mean).toBeCloseTo(full, 4);
  });

  it('has no gradient to log Q', async () => {
    const { gradients } = await evaluateLoss({ logQ: [0.5, -1, -2, 0.25] });
    expect(Math.max(...gradients.scores!.map(Math.abs))).toBeGreaterThan(0.05);
    expect(gradients.logQ).toEqual([0, 0, 0, 0]);
  });

  it('a correction of 0 changes nothing', async () => {
    const inputs = {
      scores: f32([2, 4], SCORES.flat()),
      target: i64([2], TARGET),
      logQ: f32([4], [0, 0, 0, 0]),
    };
    const corrected = await lossAndGradients(inputs, ({ scores, target, logQ }) => ({
      loss: truncatedSoftmax(scores!, target!, { logQ: logQ! }),
    }));
    const plain = await lossAndGradients(inputs, ({ scores, target }) => ({
      loss: softmaxCrossEntropy(scores!, target!),
    }));
    expect(corrected).toEqual(plain);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { scores: { shape: ['b', 4], dims: [2, 4] }, target: { shape: ['b'], value: i64([2], [1, 2]) } },
      ({ scores, target }) =>
        truncatedSoftmax(scores!, target!, {
          logQ: scores!.graph.constant('f32', [4], Float32Array.of(0.2, -0.3, 0.5, -1)),
        }),
    );
  });

  it('candidates with an expected count near 0 or 1', async () => {
    const { loss, gradients } = await evaluateLoss({ logQ: [0, -80, 80, 80] });
    expect(loss).toBeCloseTo((79.5 - 1.5 + 84 - 1) / 2, 4);
    expect(gradients.scores!.every(Number.isFinite)).toBe(true);
  });
});
