import type { CorrectorPlan } from './corrector-options.ts';
import type { ClosedForm } from './linear-map.ts';
import { transposed, transposedTimes } from './matrices.ts';
import type { PairMoments } from './moments.ts';
import { solvePositive } from './solve-positive.ts';

/**
 * Fits an affine regression that is shrunk towards the identity (towards the mean if D ≠ D'):
 *
 *     m(b) = b + A (b − x̄) + (ȳ − x̄)        A minimises  (1/n) Σ ‖(y − x) − (ȳ − x̄) − A (x − x̄)‖² + λ ‖A‖²
 */
export function ridge(plan: CorrectorPlan): ClosedForm {
  const { dimension, toDimension } = plan;
  return {
    parts: { weight: [toDimension, dimension], shift: [toDimension] },
    fit: (moments) => {
      const slope = ridgeSlope(moments, plan.ridge);
      const { meanStale, meanFresh } = moments;
      if (moments.isDifference) for (let i = 0; i < dimension; i++) slope[i * dimension + i]! += 1;
      const moved = transposedTimes(slope, meanStale, dimension);
      return {
        weight: transposed(slope, dimension),
        shift: Float32Array.from(meanFresh, (y, i) => y - moved[i]!),
      };
    },
    dispose: async () => {},
  };
}

/** Computes Aᵀ, f64[D, D']: the slope of the differences y − x, or of the fresh embeddings y if D ≠ D'. */
export function ridgeSlope(moments: PairMoments, strength: number): Float64Array {
  const { dimension, covariance, cross } = moments;
  const a = covariance.slice();
  const lambda = ridgeOf(moments, strength);
  for (let i = 0; i < dimension; i++) a[i * dimension + i]! += lambda;
  return solvePositive(a, cross, dimension);
}

/**
 * Computes  λ = strength · (D/n) · (mean eigenvalue),  as if `strength` unmoved pairs had been seen for each
 * dimension.
 *
 * A lower limit just above rounding errors applies if all pairs are equal.
 */
export function ridgeOf({ pairs, dimension, covariance }: PairMoments, strength: number): number {
  let trace = 0;
  for (let i = 0; i < dimension; i++) trace += covariance[i * dimension + i]!;
  return Math.max((strength * trace) / pairs, 1e-6 * trace, 1e-9);
}
