import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { angle, angleSimilarity } from './angle.ts';

/** |Re + Im| of Σ x_k conj(y_k), by complex arithmetic. */
function reference(x: readonly number[], y: readonly number[]): number {
  const half = Math.ceil(x.length / 2);
  const part = (of: readonly number[], i: number) => of[i] ?? 0;
  let [real, imaginary] = [0, 0];
  for (let k = 0; k < half; k++) {
    const [a, b, c, d] = [part(x, k), part(x, half + k), part(y, k), part(y, half + k)];
    real += a * c + b * d;
    imaginary += b * c - a * d;
  }
  return Math.abs(real + imaginary) / Math.hypot(...x) / Math.hypot(...y);
}

describe.each([
  ['an even size', [1, 2, -1, 0.5], [0.5, -1, 2, 1]],
  ['an odd size', [1, 2, -1], [0.5, -1, 2]],
])('angleSimilarity, %s', (_, x, y) => {
  it('is the sum of real and imaginary part', async () => {
    const D = x.length;
    const inputs = { x: f32([2, D], [...x, ...y]), y: f32([2, D], [...y, ...y]) };
    const { others } = await lossAndGradients(inputs, ({ x, y }) => {
      const similarity = angleSimilarity(x!, y!);
      return { loss: angle(similarity, x!.graph.constant('f32', [2], Float32Array.of(0, 1))), similarity };
    });
    expect(others.similarity![0]).toBeCloseTo(reference(x, y), 6);
    // The product of a vector with itself has no imaginary part.
    expect(others.similarity![1]).toBeCloseTo(1, 6);
  });

  it('agrees with finite differences', async () => {
    const D = x.length;
    await gradcheck(
      {
        x: { shape: ['b', D], dims: [2, D], low: 0.5, high: 1.5 },
        y: { shape: ['b', D], dims: [2, D], low: 0.5, high: 1 },
      },
      ({ x, y }) => angleSimilarity(x!, y!),
    );
  });
});

it('the angle loss is that of the violations', async () => {
  const inputs = { similarities: f32([2], [0.5, 1]), labels: f32([2], [1, 0]) };
  const { loss } = await lossAndGradients(inputs, ({ similarities, labels }) => ({
    loss: angle(similarities!, labels!),
  }));
  expect(loss).toBeCloseTo(Math.log(1 + Math.exp(0.5)), 6);
});
