import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { div, mul, sum, unsqueeze } from '../graph/ops.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { KL_DIRECTIONS, type KlDirection, teacherDivergence } from './teacher-divergence.ts';

interface Golden {
  tau: number;
  beta: number;
  queries: number[][];
  candidates: number[][][];
  teacher: number[][];
  allowed: boolean[][];
  cases: {
    direction: KlDirection;
    masked: boolean;
    loss: number;
    scores: number[][];
    queries: number[][];
    candidates: number[][][];
  }[];
}
// Made by tools/reference/teacher_divergence_golden.py.
const golden: Golden = JSON.parse(
  readFileSync(new URL('fixtures/teacher-divergence.json', import.meta.url), 'utf8'),
);
const flat = (values: unknown): number[] => [values].flat(3) as number[];
const [B, K, D] = [3, 5, 4];
const allowed = hostTensor('bool', [B, K], Uint8Array.from(golden.allowed.flat(), Number));

const softmax = (scores: readonly number[]) => {
  const total = scores.reduce((sum, s) => sum + Math.exp(s), 0);
  return scores.map((s) => Math.exp(s) / total);
};
const near = (found: readonly number[], expected: readonly number[], digits = 5) => {
  expect(found.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i], `${i}`).toBeCloseTo(value, digits);
};

describe('teacherDivergence', () => {
  it.each(golden.cases)('$direction, masked $masked: equals autograd in double precision', async (wanted) => {
    const { loss, gradients } = await lossAndGradients(
      {
        queries: f32([B, D], flat(golden.queries)),
        candidates: f32([B, K, D], flat(golden.candidates)),
        teacher: f32([B, K], flat(golden.teacher)),
        ...(wanted.masked && { allowed }),
      },
      (t) => {
        const products = sum(mul(unsqueeze(t.queries!, 1), t.candidates!), { axes: 2 });
        return {
          loss: teacherDivergence(div(products, golden.tau), t.teacher!, {
            allowed: t.allowed,
            temperature: golden.beta,
            direction: wanted.direction,
          }).loss,
        };
      },
    );
    expect(loss).toBeCloseTo(wanted.loss, 5);
    near(gradients.queries!, flat(wanted.queries), 4);
    near(gradients.candidates!, flat(wanted.candidates), 4);
    expect(gradients.teacher!.every((value) => value === 0)).toBe(true);
  });

  it.each(KL_DIRECTIONS)('%s: the gradient is the closed form', async (direction) => {
    const [s, g] = [
      [1.2, -0.4, 0.3, 2],
      [-1, -0.2, -3, -0.9],
    ];
    const { gradients } = await lossAndGradients({ s: f32([1, 4], s!), g: f32([1, 4], g!) }, (t) => ({
      loss: teacherDivergence(t.s!, t.g!, { temperature: 0.5, direction }).loss,
    }));
    const [P, Q] = [softmax(s!), softmax(g!.map((x) => x / 0.5))];
    const kl = P.reduce((total, p, j) => total + p * Math.log(p / Q[j]!), 0);
    near(
      gradients.s!,
      P.map((p, j) => (direction === 'forward' ? p - Q[j]! : p * (Math.log(p / Q[j]!) - kl))),
      6,
    );
  });

  it.each(KL_DIRECTIONS)('%s: passes a check by finite differences', async (direction) => {
    await gradcheck(
      { scores: { shape: [B, K], low: -2, high: 2 }, allowed: { shape: [B, K], value: allowed } },
      ({ scores, allowed }) => {
        const teacher = scores!.graph.constant('f32', [B, K], Float32Array.from(flat(golden.teacher)));
        return teacherDivergence(scores!, teacher, { allowed, temperature: 0.5, direction }).loss;
      },
    );
  });

  it.each(KL_DIRECTIONS)(
    '%s: is 0 for equal distributions, and finite for no candidate at all',
    async (direction) => {
      const loss = async (scores: number[], mask: number[]) =>
        await lossAndGradients(
          {
            scores: f32([1, 3], scores),
            teacher: f32([1, 3], [-1, -2, -3]),
            allowed: hostTensor('bool', [1, 3], Uint8Array.from(mask)),
          },
          (t) => ({
            loss: teacherDivergence(t.scores!, t.teacher!, { allowed: t.allowed, direction }).loss,
          }),
        );
      expect((await loss([4, 3, 2], [1, 1, 1])).loss).toBeCloseTo(0, 6);
      const none = await loss([Number.NaN, 1e30, -1e30], [0, 0, 0]);
      expect(none.loss).toBeCloseTo(0, 6);
      expect(none.gradients.scores!.map(Math.abs)).toEqual([0, 0, 0]);
      const extreme = await loss([1e4, -1e4, 0], [1, 1, 1]);
      expect(Number.isFinite(extreme.loss)).toBe(true);
    },
  );
});
