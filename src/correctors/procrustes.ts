import type { CorrectorPlan } from './corrector-options.ts';
import type { ClosedForm } from './linear-map.ts';
import { transposed } from './matrices.ts';
import { PolarFactor } from './polar-factor.ts';

/**
 * Fits the rotation (with or without reflection) that best maps stale to fresh embeddings (orthogonal
 * Procrustes, Schönemann 1966):
 *
 *     m(b) = Rᵀ b        R = U Vᵀ of  E[x yᵀ] + λ I = U S Vᵀ        λ = ridge/n
 *
 * λ keeps directions unchanged for which the pairs give no evidence. If D ≠ D', R is semi-orthogonal and
 * there is no λ.
 */
export function procrustes(plan: CorrectorPlan): ClosedForm {
  const { dimension, toDimension } = plan;
  const polar = new PolarFactor(plan.compute);
  return {
    parts: { weight: [toDimension, dimension] },
    fit: async ({ pairs, meanStale, meanFresh, covariance, cross, isDifference }) => {
      const product = cross.slice();
      for (let i = 0; i < dimension; i++) {
        for (let j = 0; j < toDimension; j++) {
          const at = i * toDimension + j;
          product[at]! += meanStale[i]! * meanFresh[j]! + (isDifference ? covariance[at]! : 0);
        }
        if (isDifference) product[i * toDimension + i]! += plan.ridge / pairs;
      }
      const rotation = await polar.of(product, dimension, toDimension);
      return { weight: transposed(rotation, dimension) };
    },
    dispose: () => polar.dispose(),
  };
}
