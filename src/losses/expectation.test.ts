import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { logSumExp, matmul, max, mul, reshape, squeeze, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { expectation } from './expectation.ts';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** The loss on given scores. */
const evaluateLoss = (setting: {
  positive: number[];
  negatives: number[][];
  logPartition: number[];
  allowed?: number[][];
}) => {
  const { positive, negatives, logPartition, allowed } = setting;
  const dims = [negatives.length, negatives[0]!.length];
  return lossAndGradients(
    {
      positive: f32([positive.length], positive),
      negatives: f32(dims, negatives.flat()),
      logPartition: f32([positive.length], logPartition),
      ...(allowed && { allowed: hostTensor('bool', dims, Uint8Array.from(allowed.flat())) }),
    },
    ({ positive, negatives, logPartition, allowed }) => {
      const { trainingLoss, interpretableLoss } = expectation(
        { positive: positive!, negatives: negatives!, allowed },
        logPartition!,
      );
      return { loss: trainingLoss, interpretableLoss };
    },
  );
};

const expectClose = (actual: number[], expected: number[], digits = 6) => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i], `[${i}]`).toBeCloseTo(value, digits);
};

describe('expectation agrees with the reference implementation', () => {
  // google-research/negative_cache: losses_test.py. Embeddings have one dimension.
  const cache = f32([2, 1], [1, -1]);
  const queries = f32([3, 1], [-1, 1, 3]);
  const positives = f32([3, 1], [2, 2, 1]);
  const sampled = f32([3, 1], [1, -1, 1]); // cache rows 0, 1, 0

  const step = (t: Record<string, Tensor>) => {
    // Weights of one number each on the query and the document side, both 1.
    const q = mul(t.queries!, t.queryWeight!);
    const logPartition = logSumExp(matmul(q, t.cache!, { transB: true }), { axes: 1 });
    const positive = sum(mul(q, mul(t.positives!, t.documentWeight!)), { axes: 1 });
    const negatives = mul(q, mul(t.sampled!, t.documentWeight!));
    return { ...expectation({ positive, negatives }, logPartition), positive, logPartition };
  };
  const one = f32([], [1]);
  const inputs = { queries, positives, sampled, cache, queryWeight: one, documentWeight: one };

  it('losses of single queries, and the gradient of the weights', async () => {
    const { gradients, loss } = await lossAndGradients(inputs, (t) => ({ loss: step(t).trainingLoss }));
    const p = [0.0420101, 0.705385, 0.499381];
    const differences = [1, -3, 0];
    const expected = differences.reduce((total, d, i) => total + (1 - p[i]!) * d, 0) / 3;
    expect(loss).toBeCloseTo(expected, 6);
    // The reference prints 0.024715006; in double precision it is 0.0247144907.
    for (const gradient of [gradients.queryWeight![0]!, gradients.documentWeight![0]!]) {
      expect(Math.abs(gradient - 0.024715006)).toBeLessThan(1e-6);
      expect(Math.abs(gradient - 0.0247144907)).toBeLessThan(2e-7);
    }

    const interpretable = [3.169846, 0.349012, 0.694385];
    for (const [i, value] of interpretable.entries()) {
      const single = (x: { data: ArrayLike<number | bigint> }) => f32([1, 1], [Number(x.data[i])]);
      const alone = { queries: single(queries), positives: single(positives), sampled: single(sampled) };
      const { others } = await lossAndGradients({ ...inputs, ...alone }, (t) => {
        const { trainingLoss, interpretableLoss } = step(t);
        return { loss: trainingLoss, interpretableLoss };
      });
      expect(others.interpretableLoss![0]).toBeCloseTo(value, 5);
    }
  });

  it('grouped top-2: the partition function over the best of each group', async () => {
    const { others } = await lossAndGradients(
      { queries: f32([2, 1], [-1, 1]), cache: f32([4, 1], [1, -1, 3, 2]) },
      ({ queries, cache }) => {
        const scores = matmul(queries!, cache!, { transB: true });
        const best = max(reshape(scores, [2, 2, 2]), { axes: 2 });
        const logPartition = logSumExp(best, { axes: 1 });
        const positive = squeeze(mul(queries!, 2), 1);
        const losses = [0, 1].map((i) => {
          const only = mul(positive, f32Constant(positive, [1 - i, i]));
          const sums = mul(logPartition, f32Constant(positive, [1 - i, i]));
          // The other query adds log 2: score 0 against a partition function of 1.
          return expectation({ positive: only, negatives: reshape(only, [2, 1]) }, sums).interpretableLoss;
        });
        return { loss: losses[0]!, first: losses[0]!, second: losses[1]! };
      },
    );
    expect(2 * others.first![0]! - Math.LN2).toBeCloseTo(3.0949229, 5);
    expect(2 * others.second![0]! - Math.LN2).toBeCloseTo(1.407605964, 5);
  });

  it('shards: the log-sum-exp of the shards stands in for their members', async () => {
    // Shards {1, 2} and {−1, −2}; positives 2.
    for (const [q, expected] of [
      [-1, 4.37452],
      [1, 0.89035],
    ] as const) {
      const shard = (...values: number[]) =>
        Math.log(values.reduce((total, v) => total + Math.exp(q * v), 0));
      const { others } = await lossAndGradients(
        { shards: f32([1, 2], [shard(1, 2), shard(-1, -2)]), positive: f32([1], [2 * q]) },
        ({ shards, positive }) => {
          const { trainingLoss, interpretableLoss } = expectation(
            { positive: positive!, negatives: reshape(positive!, [1, 1]) },
            logSumExp(shards!, { axes: 1 }),
          );
          return { loss: trainingLoss, interpretableLoss };
        },
      );
      expect(others.interpretableLoss![0]).toBeCloseTo(expected, 5);
    }
  });
});

const f32Constant = (x: Tensor, values: number[]) =>
  x.graph.constant('f32', [values.length], Float32Array.from(values));

describe('expectation', () => {
  const positive = [2, -1, 0.5];
  const negatives = [
    [1, 0],
    [-2, 3],
    [0.5, 0.25],
  ];
  const logPartition = [1.5, 2, 0.1];

  it('is (1 − p⁺)(mean s − s⁺), and its gradient is that of the difference', async () => {
    const { loss, gradients, others } = await evaluateLoss({ positive, negatives, logPartition });
    const missed = positive.map((s, i) => 1 - sigmoid(s - logPartition[i]!));
    const values = missed.map((w, i) => w * ((negatives[i]![0]! + negatives[i]![1]!) / 2 - positive[i]!));
    expect(loss).toBeCloseTo(values.reduce((a, b) => a + b) / 3, 6);
    expectClose(
      gradients.positive!,
      missed.map((w) => -w / 3),
    );
    expectClose(
      gradients.negatives!,
      missed.flatMap((w) => [w / 6, w / 6]),
    );
    expect(Math.min(...gradients.positive!.map(Math.abs))).toBeGreaterThan(0.05);
    const interpretable = positive.map((s, i) => -Math.log(sigmoid(s - logPartition[i]!)));
    expect(others.interpretableLoss![0]).toBeCloseTo(interpretable.reduce((a, b) => a + b) / 3, 6);
  });

  it('has no gradient to the partition function, and the plotted loss none at all', async () => {
    const { gradients } = await evaluateLoss({ positive, negatives, logPartition });
    expect(Math.max(...gradients.positive!.map(Math.abs))).toBeGreaterThan(0.05);
    expect(gradients.logPartition).toEqual([0, 0, 0]);
    const plotted = await lossAndGradients(
      {
        positive: f32([3], positive),
        negatives: f32([3, 2], negatives.flat()),
        sums: f32([3], logPartition),
      },
      ({ positive, negatives, sums }) => ({
        loss: expectation({ positive: positive!, negatives: negatives! }, sums!).interpretableLoss,
      }),
    );
    expect(
      Object.values(plotted.gradients)
        .flat()
        .every((g) => g === 0),
    ).toBe(true);
  });

  it('agrees with finite differences where p⁺ is constant', async () => {
    // The partition function is far above the scores, so p⁺ = 0 for all of them.
    await gradcheck(
      {
        positive: { shape: ['b'], dims: [3] },
        negatives: { shape: ['b', 'k'], dims: [3, 2] },
        logPartition: { shape: ['b'], dims: [3], value: f32([3], [500, 500, 500]) },
      },
      ({ positive, negatives, logPartition }) =>
        expectation({ positive: positive!, negatives: negatives! }, logPartition!).trainingLoss,
    );
  });

  it('leaves out what is not allowed, whatever it holds', async () => {
    const allowed = [
      [1, 0],
      [0, 0],
      [1, 1],
    ];
    const strange = [
      [1, Number.NaN],
      [1e30, Number.POSITIVE_INFINITY],
      [0.5, 0.25],
    ];
    const { loss, gradients } = await evaluateLoss({ positive, negatives: strange, logPartition, allowed });
    const missed = positive.map((s, i) => 1 - sigmoid(s - logPartition[i]!));
    expect(loss).toBeCloseTo((missed[0]! * (1 - 2) + missed[2]! * (0.375 - 0.5)) / 3, 6);
    expectClose(gradients.positive!, [-missed[0]! / 3, 0, -missed[2]! / 3]);
    expectClose(gradients.negatives!, [missed[0]! / 3, 0, 0, 0, missed[2]! / 6, missed[2]! / 6]);
  });

  it.each([
    ['a positive that is certain', 100, -100, 0, 0],
    ['a positive that is lost', -100, 100, 200, 1],
    ['an empty table', 3, -1e30, 0, 0],
    ['enormous scores', 1e6, 1e6 + 1, Math.log(1 + Math.E), sigmoid(1)],
  ])('%s', async (_, s, logZ, interpretable, missed) => {
    const { gradients, others } = await evaluateLoss({
      positive: [s],
      negatives: [[s - 1]],
      logPartition: [logZ],
    });
    expect(others.interpretableLoss![0]).toBeCloseTo(interpretable, 5);
    expectClose(gradients.positive!, [-missed]);
    expectClose(gradients.negatives!, [missed]);
  });
});
