import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { mul } from '../graph/ops.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { expectation } from './expectation.ts';
import { importanceCorrected } from './importance-corrected.ts';

const evaluateLoss = (setting: {
  positive: number[];
  negatives: number[][];
  staleScores: number[][];
  logPartition: number[];
  allowed?: number[][];
}) => {
  const { positive, negatives, staleScores, logPartition, allowed } = setting;
  const dims = [negatives.length, negatives[0]!.length];
  return lossAndGradients(
    {
      positive: f32([positive.length], positive),
      negatives: f32(dims, negatives.flat()),
      staleScores: f32(dims, staleScores.flat()),
      logPartition: f32([positive.length], logPartition),
      ...(allowed && { allowed: hostTensor('bool', dims, Uint8Array.from(allowed.flat())) }),
    },
    ({ positive, negatives, staleScores, logPartition, allowed }) => {
      const { trainingLoss, ...others } = importanceCorrected(
        { positive: positive!, negatives: negatives!, allowed },
        { scores: staleScores!, logPartition: logPartition! },
      );
      return { loss: trainingLoss, ...others };
    },
  );
};

/** The definition, in double precision. */
function reference(setting: Parameters<typeof evaluateLoss>[0]) {
  const B = setting.positive.length;
  let loss = 0;
  let effective = 0;
  const logPartition: number[] = [];
  const positiveGradient: number[] = [];
  const negativeGradient: number[] = [];
  for (const [i, s] of setting.positive.entries()) {
    const on = setting.negatives[i]!.map((_, j) => setting.allowed?.[i]?.[j] !== 0);
    const ratios = setting.negatives[i]!.map((x, j) =>
      on[j] ? Math.exp(x - setting.staleScores[i]![j]!) : 0,
    );
    const k = on.filter(Boolean).length;
    const sum = ratios.reduce((a, b) => a + b, 0);
    const z = k === 0 ? 0 : (Math.exp(setting.logPartition[i]!) / k) * sum;
    loss += (Math.log(Math.exp(s) + z) - s) / B;
    logPartition.push(Math.log(z));
    if (k > 0) effective += sum ** 2 / ratios.reduce((a, b) => a + b * b, 0) / B;
    const missed = z / (Math.exp(s) + z);
    positiveGradient.push(-missed / B);
    negativeGradient.push(...ratios.map((r) => (k === 0 ? 0 : (missed * r) / sum / B)));
  }
  return { loss, effective, logPartition, positiveGradient, negativeGradient };
}

const expectClose = (actual: number[], expected: number[], digits = 6) => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i], `[${i}]`).toBeCloseTo(value, digits);
};

const setting = {
  positive: [2, -1],
  negatives: [
    [1, 0, 0.5],
    [-2, 3, 1],
  ],
  staleScores: [
    [0.5, 1, 0.5],
    [-1, 2, 3],
  ],
  logPartition: [1.5, 2],
};

describe('importanceCorrected', () => {
  it('is the cross-entropy with the estimated partition function', async () => {
    const { loss, gradients, others } = await evaluateLoss(setting);
    const expected = reference(setting);
    expect(loss).toBeCloseTo(expected.loss, 6);
    expectClose(others.logPartition!, expected.logPartition, 5);
    expect(others.effectiveSampleSize![0]).toBeCloseTo(expected.effective, 5);
    expectClose(gradients.positive!, expected.positiveGradient);
    expectClose(gradients.negatives!, expected.negativeGradient);
    expect(Math.min(...gradients.negatives!.map(Math.abs))).toBeGreaterThan(1e-3);
  });

  it('on a fresh table it has the gradient of the expectation form, and all draws count', async () => {
    const fresh = { ...setting, staleScores: setting.negatives };
    const { gradients, others } = await evaluateLoss(fresh);
    const other = await lossAndGradients(
      {
        positive: f32([2], fresh.positive),
        negatives: f32([2, 3], fresh.negatives.flat()),
        sums: f32([2], fresh.logPartition),
      },
      ({ positive, negatives, sums }) => ({
        loss: expectation({ positive: positive!, negatives: negatives! }, sums!).trainingLoss,
      }),
    );
    expectClose(gradients.positive!, other.gradients.positive!);
    expectClose(gradients.negatives!, other.gradients.negatives!);
    expectClose(others.logPartition!, fresh.logPartition, 5);
    expect(others.effectiveSampleSize![0]).toBeCloseTo(3, 5);
  });

  it('a document that was pushed away after the last refresh is pushed no further', async () => {
    const pushed = { ...setting, negatives: [[1, 0, -20], setting.negatives[1]!] };
    const { gradients } = await evaluateLoss(pushed);
    expect(gradients.negatives![2]).toBeLessThan(1e-8);
    expect(gradients.negatives![0]).toBeGreaterThan(0.1);
  });

  it('one draw of k that counts: an effective sample size of nearly 1', async () => {
    const { others } = await evaluateLoss({
      ...setting,
      negatives: [
        [20, 0, 0],
        [0, 0, 30],
      ],
    });
    expect(others.effectiveSampleSize![0]).toBeCloseTo(1, 3);
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const masked = {
      ...setting,
      negatives: [
        [1, Number.NaN, 0.5],
        [Number.NaN, 1e30, Number.POSITIVE_INFINITY],
      ],
      allowed: [
        [1, 0, 1],
        [0, 0, 0],
      ],
    };
    const { loss, gradients, others } = await evaluateLoss(masked);
    const expected = reference(masked);
    expect(loss).toBeCloseTo(expected.loss, 6);
    expectClose(gradients.positive!, expected.positiveGradient);
    expectClose(gradients.negatives!, expected.negativeGradient);
    expect(others.effectiveSampleSize![0]).toBeCloseTo(expected.effective, 5);
  });

  it('has no gradient to anything stale, and none from the sample size', async () => {
    const { gradients } = await evaluateLoss(setting);
    expect(Math.max(...gradients.negatives!.map(Math.abs))).toBeGreaterThan(0.05);
    expect([...gradients.staleScores!, ...gradients.logPartition!].every((g) => g === 0)).toBe(true);
    const size = await lossAndGradients(
      { positive: f32([2], [0, 0]), negatives: f32([2, 3], setting.negatives.flat()) },
      ({ positive, negatives }) => ({
        loss: importanceCorrected(
          { positive: positive!, negatives: negatives! },
          { scores: mul(negatives!, 0.5), logPartition: positive! },
        ).effectiveSampleSize,
      }),
    );
    expect(
      Object.values(size.gradients)
        .flat()
        .every((g) => g === 0),
    ).toBe(true);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { positive: { shape: ['b'], dims: [3] }, negatives: { shape: ['b', 2], dims: [3, 2] } },
      ({ positive, negatives }) => {
        const { graph } = positive!;
        return importanceCorrected(
          { positive: positive!, negatives: negatives! },
          {
            scores: graph.constant('f32', [1, 2], Float32Array.of(0.3, -0.2)),
            logPartition: graph.scalar(0.5),
          },
        ).trainingLoss;
      },
    );
  });

  it.each([
    ['a positive that is certain', 100, -100, 0, 0],
    ['a positive that is lost', -100, 100, 200, 1],
    ['an empty table', 3, -1e30, 0, 0],
  ])('%s', async (_, s, logZ, loss, missed) => {
    const { gradients, loss: ours } = await evaluateLoss({
      positive: [s],
      negatives: [[s - 1]],
      staleScores: [[s - 1]],
      logPartition: [logZ],
    });
    expect(ours).toBeCloseTo(loss, 4);
    expectClose(gradients.positive!, [-missed]);
    expectClose(gradients.negatives!, [missed]);
  });
});
