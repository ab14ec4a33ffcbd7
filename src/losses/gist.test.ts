import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { gist } from './gist.ts';

const logSum = (...scores: number[]) => Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0));

/** Two queries, their positives and one negative. The guide rates query 0's positive 0.6, query 1's 0.5. */
const documents = [1, 2, 0.5, -1, 3, 0];
const queries = [9, 0.25, 0.25, 9];
const positives = [9, 0.75, 0.75, 9];
const guide = {
  documents: [0.6, 0.7, 0.55, 0.1, 0.5, 0.2],
  queries: [1, 0.3, 0.3, 1],
  positives: [1, 0.55, 0.55, 1],
};

const evaluateLoss = (options: Parameters<typeof gist>[2] & { mask?: number[] } = {}) => {
  const { mask, ...others } = options;
  return lossAndGradients(
    {
      documents: f32([2, 3], documents),
      queries: f32([2, 2], queries),
      positives: f32([2, 2], positives),
      guideDocuments: f32([2, 3], guide.documents),
      guideQueries: f32([2, 2], guide.queries),
      guidePositives: f32([2, 2], guide.positives),
      ...(mask && { mask: hostTensor('bool', [2, 3], Uint8Array.from(mask)) }),
    },
    (t) => ({
      loss: gist(
        { documents: t.documents!, queries: t.queries!, positives: t.positives! },
        { documents: t.guideDocuments!, queries: t.guideQueries!, positives: t.guidePositives! },
        { ...others, allowed: t.mask },
      ),
    }),
  );
};

describe('gist', () => {
  it('leaves out candidates that the guide finds nearer than the positive', async () => {
    const { loss, gradients } = await evaluateLoss();
    // Left out: for query 0 document 1 (0.7 > 0.6), for query 1 the other positive (0.55 > 0.5), and each text itself.
    const expected = [logSum(1, 0.5, 0.25, 0.75) - 1, logSum(-1, 3, 0, 0.25) - 3];
    expect(loss).toBeCloseTo((expected[0]! + expected[1]!) / 2, 6);
    expect(gradients.documents![1]).toBe(0);
    expect(gradients.documents![2]).toBeGreaterThan(0.01);
    expect([gradients.queries![0], gradients.positives![0], gradients.positives![2]]).toEqual([0, 0, 0]);
    for (const name of ['Documents', 'Queries', 'Positives'])
      expect(gradients[`guide${name}`]!.every((g) => g === 0)).toBe(true);
  });

  it.each([
    // Limit 0.6 − 0.1 for query 0: also document 2 (0.55) and the other positive (0.55). Limit 0.5 − 0.1 for query 1.
    ['absolute', 0.1, [1, 0.25], [-1, 3, 0, 0.25]],
    // Limits 0.6 · 0.45 = 0.27 and 0.5 · 0.45 = 0.225: also the other query (0.3).
    ['relative', 0.55, [1], [-1, 3, 0]],
  ] as const)('leaves out more with a margin that is %s', async (strategy, margin, first, second) => {
    const { loss } = await evaluateLoss({ strategy, margin });
    expect(loss).toBeCloseTo((logSum(...first) - 1 + logSum(...second) - 3) / 2, 6);
  });

  it('leaves out known positives as documents and beside the positive, and the queries that they answer', async () => {
    const { loss, gradients } = await evaluateLoss({ mask: [1, 0, 1, 0, 1, 1] });
    expect(loss).toBeCloseTo((logSum(1, 0.5) - 1 + logSum(3, 0) - 3) / 2, 6);
    expect(gradients.queries).toEqual([0, 0, 0, 0]);
    expect(gradients.positives).toEqual([0, 0, 0, 0]);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { documents: { shape: [2, 3] }, queries: { shape: [2, 2] } },
      ({ documents: d, queries: q }) => {
        const fixed = (dims: number[], values: number[]) =>
          d!.graph.constant('f32', dims, Float32Array.from(values));
        return gist(
          { documents: d!, queries: q! },
          { documents: fixed([2, 3], guide.documents), queries: fixed([2, 2], guide.queries) },
        );
      },
    );
  });
});
