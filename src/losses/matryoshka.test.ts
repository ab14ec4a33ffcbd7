import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { mean, square } from '../graph/ops.ts';
import { cosineSimilarity } from './cosine-similarity.ts';
import { pairCosines } from './distances.ts';
import { matryoshka } from './matryoshka.ts';

const cosine = (x: readonly number[], y: readonly number[]) =>
  x.reduce((sum, v, i) => sum + v * y[i]!, 0) / Math.hypot(...x) / Math.hypot(...y);

describe('matryoshka', () => {
  const x = [3, 4, 1, -2];
  const y = [1, -1, 2, 2];
  const inputs = { x: f32([1, 4], x), y: f32([1, 4], y) };
  const sizes = [
    { dimensions: 4, weight: 1 },
    { dimensions: 2, weight: 0.5 },
  ];

  it('is the weighted sum over the sizes, each of length one', async () => {
    const { loss, others } = await lossAndGradients(inputs, ({ x, y }) => {
      const seen: [string, ReturnType<typeof square>][] = [];
      const loss = matryoshka({ x: x!, y: y! }, sizes, {
        loss: (cut, dimensions) => {
          seen.push([`length${dimensions}`, mean(square(cut.x))]);
          return cosineSimilarity(pairCosines(cut.x, cut.y), x!.graph.scalar(1));
        },
      });
      return { loss, ...Object.fromEntries(seen) };
    });
    const at = (m: number) => (cosine(x.slice(0, m), y.slice(0, m)) - 1) ** 2;
    expect(loss).toBeCloseTo(at(4) + 0.5 * at(2), 5);
    expect(others.length4![0]).toBeCloseTo(1 / 4, 6);
    expect(others.length2![0]).toBeCloseTo(1 / 2, 6);
  });

  it('leaves lengths alone where the model does', async () => {
    const { loss } = await lossAndGradients({ x: inputs.x }, ({ x }) => ({
      loss: matryoshka({ x: x! }, [{ dimensions: 2, weight: 1 }], {
        normalize: false,
        loss: (cut) => mean(square(cut.x)),
      }),
    }));
    expect(loss).toBeCloseTo((9 + 16) / 2, 5);
  });

  it('the last dimensions have a gradient from the full size alone', async () => {
    const gradientOf = async (used: typeof sizes) =>
      (
        await lossAndGradients(inputs, ({ x, y }) => ({
          loss: matryoshka({ x: x!, y: y! }, used, {
            loss: (cut) => cosineSimilarity(pairCosines(cut.x, cut.y), x!.graph.scalar(1)),
          }),
        }))
      ).gradients.x!;
    const [both, full, half] = [
      await gradientOf(sizes),
      await gradientOf(sizes.slice(0, 1)),
      await gradientOf(sizes.slice(1)),
    ];
    expect(Math.hypot(...half.slice(0, 2))).toBeGreaterThan(0.01);
    expect(half.slice(2)).toEqual([0, 0]);
    for (const [i, value] of both.entries()) expect(value).toBeCloseTo(full[i]! + half[i]!, 6);
  });

  it('agrees with finite differences', async () => {
    await gradcheck(
      { x: { shape: ['b', 6], dims: [2, 6] }, y: { shape: ['b', 6], dims: [2, 6] } },
      ({ x, y }) =>
        matryoshka({ x: x!, y: y! }, [...sizes, { dimensions: 6, weight: 2 }], {
          loss: (cut) => cosineSimilarity(pairCosines(cut.x, cut.y), x!.graph.scalar(0.5)),
        }),
    );
  });
});
