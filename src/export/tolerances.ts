import type { ExportDtype } from '../models/folder/onnx-export.ts';
import type { VectorDifference } from './compare-vectors.ts';

/** Largest difference of two programs that compute the same in f32 with sums in another order. */
export const F32_TOLERANCE = 1e-5;

/**
 * Smallest cosine to the f32 vectors allowed for coarser weights. Measured cosines are far above
 * (docs/export.md).
 */
export const LEAST_COSINES: Readonly<Record<Exclude<ExportDtype, 'f32'>, number>> = { f16: 0.999, int8: 0.9 };

/** Describes the fault of vectors computed from weights of a dtype; undefined if they are close enough. */
export function faultOf(difference: VectorDifference, dtype: ExportDtype): string | undefined {
  const { largestDifference, minCosine } = difference;
  if (dtype === 'f32') {
    return largestDifference <= F32_TOLERANCE
      ? undefined
      : `vectors differ by up to ${largestDifference.toExponential(1)}, more than ${F32_TOLERANCE.toExponential(0)}`;
  }
  const least = LEAST_COSINES[dtype];
  return minCosine >= least && Number.isFinite(largestDifference)
    ? undefined
    : `a vector has the cosine ${minCosine.toFixed(4)} to the f32 one, less than ${least}`;
}
