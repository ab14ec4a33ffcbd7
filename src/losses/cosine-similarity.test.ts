import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { cosineSimilarity } from './cosine-similarity.ts';
import { pairCosines } from './distances.ts';

describe('cosineSimilarity', () => {
  it('is the mean squared error of the cosines; the labels get no gradient', async () => {
    const inputs = {
      x: f32([2, 2], [3, 4, 1, 0]),
      y: f32([2, 2], [4, 3, 0, -2]),
      labels: f32([2], [0.5, 0.25]),
    };
    const { loss, gradients } = await lossAndGradients(inputs, ({ x, y, labels }) => ({
      loss: cosineSimilarity(pairCosines(x!, y!), labels!),
    }));
    // cosines 24/25 and 0
    expect(loss).toBeCloseTo((0.46 ** 2 + 0.25 ** 2) / 2, 6);
    expect(gradients.labels).toEqual([0, 0]);
    // Second pair: ∂cos/∂x₂ = y₂ / ‖y‖ = −1.
    expect(gradients.x![3]).toBeCloseTo(-0.25 * -1, 6);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { cosines: { shape: [4] } },
      ({ cosines }) =>
        cosineSimilarity(cosines!, cosines!.graph.constant('f32', [4], Float32Array.of(1, 0, 0.5, -1))),
      { tolerance: 4e-3 },
    );
  });
});
