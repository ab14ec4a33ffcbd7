import { describe, expect, it } from 'vitest';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/** Loss and ∂loss/∂scores. */
async function evaluate(scores: number[][], target: number[], allowed?: number[][]) {
  const graph = new Graph('loss');
  const s = graph.input('scores', 'f32', ['queries', 'candidates']);
  const t = graph.input('target', 'i64', ['queries']);
  const mask = allowed ? { allowed: graph.input('allowed', 'bool', ['queries', 'candidates']) } : {};
  const loss = softmaxCrossEntropy(s, t, mask);
  graph.output('loss', loss);
  graph.output('gradient', backward(loss, [s])[0]!);
  const program = await Program.compile(graph, { threads: 1 });
  const dims = [scores.length, scores[0]!.length];
  const results = await program.run({
    scores: hostTensor('f32', dims, Float32Array.from(scores.flat())),
    target: hostTensor('i64', [target.length], BigInt64Array.from(target, BigInt)),
    ...(allowed && { allowed: hostTensor('bool', dims, Uint8Array.from(allowed.flat())) }),
  });
  await program.dispose();
  const flat = Array.from(results.gradient!.data, Number);
  const gradient = scores.map((row, i) => flat.slice(i * row.length, (i + 1) * row.length));
  return { loss: scalarValue(results.loss), gradient };
}

/** The definition, in double precision. */
function reference(scores: number[][], target: number[], allowed?: number[][]) {
  const B = scores.length;
  let loss = 0;
  const gradient = scores.map((row, i) => {
    const weights = row.map((s, j) => (allowed?.[i]?.[j] === 0 ? 0 : Math.exp(s)));
    const total = weights.reduce((a, b) => a + b);
    loss += (Math.log(total) - row[target[i]!]!) / B;
    return weights.map((w, j) => (w / total - (j === target[i] ? 1 : 0)) / B);
  });
  return { loss, gradient };
}

function expectClose(ours: Awaited<ReturnType<typeof evaluate>>, expected: ReturnType<typeof reference>) {
  expect(ours.loss).toBeCloseTo(expected.loss, 5);
  for (const [i, row] of expected.gradient.entries()) {
    for (const [j, value] of row.entries())
      expect(ours.gradient[i]![j], `[${i}, ${j}]`).toBeCloseTo(value, 6);
  }
  expect(Math.max(...ours.gradient.flat().map(Math.abs)), 'the gradient must not vanish').toBeGreaterThan(
    1e-2,
  );
}

const SCORES = [
  [1.5, -0.5, 3, 0.25],
  [-2, 4, 0, 1],
  [10, 9, 8, 11],
];
const TARGET = [0, 1, 3];

describe('softmaxCrossEntropy', () => {
  it('is the mean negative log-likelihood, and its gradient is softmax − target', async () => {
    expectClose(await evaluate(SCORES, TARGET), reference(SCORES, TARGET));
  });

  it('one query and two equal candidates: log 2', async () => {
    const { loss, gradient } = await evaluate([[7, 7]], [1]);
    expect(loss).toBeCloseTo(Math.LN2, 6);
    expect(gradient[0]).toEqual([0.5, -0.5]);
  });

  it('candidates that are not allowed take no part and get no gradient', async () => {
    const allowed = [
      [1, 1, 0, 1],
      [0, 1, 1, 1],
      [1, 0, 1, 1],
    ];
    const ours = await evaluate(SCORES, TARGET, allowed);
    expectClose(ours, reference(SCORES, TARGET, allowed));
    for (const [i, row] of allowed.entries()) {
      for (const [j, on] of row.entries()) if (!on) expect(ours.gradient[i]![j]).toBe(0);
    }
    const louder = SCORES.map((row, i) => row.map((s, j) => (allowed[i]![j] ? s : 1e30)));
    expect(await evaluate(louder, TARGET, allowed)).toEqual(ours);
  });

  it('nothing but the target allowed: loss 0 and no gradient', async () => {
    const only = SCORES.map((row, i) => row.map((_, j) => (j === TARGET[i] ? 1 : 0)));
    const { loss, gradient } = await evaluate(SCORES, TARGET, only);
    expect(loss).toBe(0);
    expect(gradient.flat().every((g) => g === 0)).toBe(true);
  });

  it('a single candidate: loss 0', async () => {
    expect((await evaluate([[3], [-4]], [0, 0])).loss).toBe(0);
  });

  it.each([
    ['an enormous winner that is the target', [1e30, -1e26, 0], 0, 0, [0, 0, 0]],
    ['an enormous winner that is not the target', [-1e26, 1e30, 0], 0, 1.0001e30, [-1, 1, 0]],
    ['all scores very negative', [-1e26, -2e26, -3e26], 0, 0, [0, 0, 0]],
    ['two enormous ties', [1e30, 1e30, -1e30], 1, 0, [0.5, -0.5, 0]],
    ['subnormal differences', [1e-40, 0, 0], 0, Math.log(3), [-2 / 3, 1 / 3, 1 / 3]],
  ])('%s', async (_, row, target, loss, gradient) => {
    const ours = await evaluate([row], [target]);
    expect(Math.abs(ours.loss - loss)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(loss)));
    for (const [j, value] of gradient.entries()) expect(ours.gradient[0]![j]).toBeCloseTo(value, 6);
  });
});
