import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32, i64 } from '../../test/evaluate.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { lambdaRank } from './lambda-rank.ts';

interface Golden {
  readonly shape: [number, number];
  readonly scores: number[];
  readonly grades: number[];
  readonly allowed: number[];
  readonly cases: { margin: number; loss: number; scores: number[] }[];
}
// Made by tools/reference/lambda_rank_golden.py.
const golden: Golden = JSON.parse(
  readFileSync(new URL('fixtures/lambda-rank.json', import.meta.url), 'utf8'),
);
const [Q] = golden.shape;

/** Candidates with their positives listed, in room for one more than there are. */
function candidates(rows: number, grades: readonly number[], allowed: readonly number[]) {
  const columns = grades.length / rows;
  const lists = Array.from({ length: rows }, (_, q) =>
    Array.from({ length: columns }, (_, j) => j).filter((j) => grades[q * columns + j]! > 0),
  );
  const most = 1 + Math.max(...lists.map(({ length }) => length));
  const padded = lists.flatMap((list) => Array.from({ length: most }, (_, i) => list[i] ?? -1));
  return {
    grades: f32([rows, columns], grades),
    allowed: f32([rows, columns], allowed),
    positives: i64(
      [rows, most],
      padded.map((each) => Math.max(0, each)),
    ),
    isPositive: f32(
      [rows, most],
      padded.map((each) => Number(each >= 0)),
    ),
  };
}
const lossOf = (scores: readonly number[], of: ReturnType<typeof candidates>, margin: number) =>
  lossAndGradients({ scores: f32(of.grades.dims, scores), ...of }, (t) => ({
    loss: lambdaRank(t.scores!, t as never, { margin }),
  }));

describe('lambdaRank', () => {
  it.each(golden.cases)(
    'equals loops over pairs in double precision: margin $margin',
    async ({ margin, ...wanted }) => {
      const found = await lossOf(golden.scores, candidates(Q, golden.grades, golden.allowed), margin);
      expect(found.loss).toBeCloseTo(wanted.loss, 5);
      for (const [i, value] of wanted.scores.entries())
        expect(found.gradients.scores![i], `score ${i}`).toBeCloseTo(value, 5);
    },
  );

  const all = candidates(2, [0, 3, 1, 0, 2, 0, 0, 0], new Array(8).fill(1));
  it('is 0, without a gradient, where the margin separates every pair', async () => {
    const separated = await lossOf([1, 3, 2, 1, 5.5, 4.5, 0, -3], all, 1);
    expect(separated.loss).toBe(0);
    expect(separated.gradients.scores!.every((each) => each === 0)).toBe(true);
    expect((await lossOf([1, 3, 2, 1, 5.5, 4.5, 0, -3], all, 1.25)).loss).toBeGreaterThan(0);
  });

  it('is 0 where no candidate is positive, allowed or listed', async () => {
    const scores = [1, 2, 3];
    for (const of of [
      candidates(1, [0, 0, 0], [1, 1, 1]),
      candidates(1, [5, 1, 0], [0, 0, 1]),
      candidates(1, [5, 1, 0], [0, 0, 0]),
    ]) {
      const found = await lossOf(scores, of, 4);
      expect(found.loss).toBe(0);
      expect(found.gradients.scores).toEqual([0, 0, 0]);
    }
  });

  it('is the hinge times the change of NDCG for one pair', async () => {
    // The positive is second: exchanged, the NDCG rises from 1/log₂ 3 to 1, whatever its grade.
    for (const grade of [0.001, 1, 200]) {
      const found = await lossOf([2, 0.5], candidates(1, [0, grade], [1, 1]), 1);
      expect(found.loss).toBeCloseTo((1 - 1 / Math.log2(3)) * 2.5, 4);
      expect(found.gradients.scores![0]).toBeCloseTo(1 - 1 / Math.log2(3), 4);
    }
  });
});
