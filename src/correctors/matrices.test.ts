import { describe, expect, it } from 'vitest';
import { orthogonal, randomNumbers } from '../../test/planted-drift.ts';
import { dominantSubspace } from './dominant-subspace.ts';
import { times, transposedTimes } from './matrices.ts';
import { PolarFactor } from './polar-factor.ts';
import { solvePositive } from './solve-positive.ts';

const random = (count: number, name: string) => Float64Array.from(randomNumbers(count, name));
const largest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
const identity = (n: number) => Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
const diagonal = (values: readonly number[]) =>
  identity(values.length).map((one, i) => one * values[i % values.length]!);

describe('solvePositive', () => {
  it.each([1, 2, 5, 8, 23])('solves %d equations', (n) => {
    const half = random(n * n, 'half');
    const a = transposedTimes(half, half, n).map((x, i) => x + (i % (n + 1) === 0 ? 0.5 : 0));
    const x = random(n * 3, 'x');
    expect(largest(solvePositive(a, times(a, x, n), n), x)).toBeLessThan(1e-11);
  });

  it('refuses a matrix that is not positive definite', () => {
    expect(() => solvePositive(Float64Array.of(1, 2, 2, 1), Float64Array.of(1, 1), 2)).toThrow('row 1');
  });
});

describe('PolarFactor', () => {
  /** U S Vᵀ with singular values over six orders of magnitude. */
  const cases = [
    [6, 6],
    [6, 4],
    [4, 6],
  ] as const;
  it.each(cases)('of %d × %d is U Vᵀ', async (rows, columns) => {
    const rank = Math.min(rows, columns);
    const u = Float64Array.from(orthogonal(rank, rows, 'u'));
    const v = Float64Array.from(orthogonal(rank, columns, 'v'));
    const s = diagonal(Array.from({ length: rank }, (_, i) => 3 * 10 ** ((-6 * i) / (rank - 1))));
    const polar = new PolarFactor({ threads: 1 });
    try {
      const factor = await polar.of(transposedTimes(u, times(s, v, rank), rank), rows, columns);
      // The factors of the matrix are single-precision numbers, and its smallest singular value a millionth.
      expect(largest(factor, transposedTimes(u, v, rank))).toBeLessThan(1e-2);
      const gram =
        rows >= columns
          ? transposedTimes(factor, factor, rows)
          : times(
              factor,
              Float64Array.from(
                { length: factor.length },
                (_, i) => factor[(i % rows) * columns + Math.floor(i / rows)]!,
              ),
              columns,
            );
      expect(largest(gram, identity(rank))).toBeLessThan(1e-12);
    } finally {
      await polar.dispose();
    }
  });
});

describe('dominantSubspace', () => {
  const n = 9;
  const axes = Float64Array.from(orthogonal(n, n, 'axes'));
  const spectrum = (values: readonly number[]) => transposedTimes(axes, times(diagonal(values), axes, n), n);

  it('spans the axes of the largest eigenvalues', () => {
    const basis = dominantSubspace(identity(n), spectrum([9, 8, 7, 1, 0.5, 0.2, 0.1, 0, 0]), {
      n,
      rank: 3,
      start: randomNumbers(n * 3, 'start'),
    });
    expect(largest(transposedTimes(basis, basis, n), identity(3))).toBeLessThan(1e-12);
    const shares = times(axes, basis, n);
    expect(Math.hypot(...shares.subarray(0, 9)) ** 2).toBeCloseTo(3, 6);
  });

  it('gives columns of zeros where there are fewer axes', () => {
    const basis = dominantSubspace(identity(n), spectrum([2, 1, 0, 0, 0, 0, 0, 0, 0]), {
      n,
      rank: 4,
      start: randomNumbers(n * 4, 'start'),
    });
    const norms = [0, 1, 2, 3].map((c) => Math.hypot(...basis.filter((_, i) => i % 4 === c)));
    expect(norms.map((norm) => Math.round(norm * 1e6) / 1e6).filter((norm) => norm > 0)).toEqual([1, 1]);
  });
});
