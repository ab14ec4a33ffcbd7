import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { pickRows } from '../util/vector-rows.ts';
import { checkPairs } from './check-pairs.ts';
import type { EmbeddingPairs } from './corrector.ts';
import { fitCorrector } from './fit-corrector.ts';
import { squaredDistance } from './squared-distance.ts';

/** Of what the distance of stale to fresh embeddings is made up. */
export interface ErrorSplit {
  /** mean ‖b − fresh‖² over the pairs that are looked at. */
  readonly squaredDistance: number;
  /** Shares of it, which add up to 1: gone with the mean shift; gone with an affine map besides; what is left of it then. */
  readonly meanShiftRatio: number;
  readonly linearRatio: number;
  readonly restRatio: number;
}

/**
 * Splits the drift of embeddings by what it takes to undo it. Maps are fitted to one random half of the pairs, and the distances are those
 * of the other half, so that the rest contains what no map of this kind can learn from so many pairs: what is bent, and what is noise. A
 * share is negative where a map that helps one half harms the other.
 *
 * @throws UsageError for fewer than 4 pairs, or where nothing has moved
 */
export async function errorSplit(
  pairs: EmbeddingPairs,
  options: { dimension: number; seed?: number; compute?: ComputeOptions },
): Promise<ErrorSplit> {
  const { dimension, seed = 0 } = options;
  const { stale, fresh } = pairs;
  const count = checkPairs({ stale, fresh }, { name: 'error split', dimension, toDimension: dimension });
  if (count < 4) throw new UsageError(`an error is split over at least 4 pairs, found ${count}`);
  const order = permutation(rngKey(seed, 0, 'corrector/error-split'), count);
  const half = Math.ceil(count / 2);
  const pick = (rows: Uint32Array) => ({
    stale: pickRows(stale, dimension, rows),
    fresh: pickRows(fresh, dimension, rows),
  });
  const [fitted, heldOut] = [pick(order.subarray(0, half)), pick(order.subarray(half))];
  const rows = count - half;
  const total = squaredDistance(heldOut.stale, heldOut.fresh) / rows;
  if (total === 0) throw new UsageError('the stale embeddings are the fresh ones: there is nothing to split');
  const left: number[] = [];
  for (const kind of ['mean-shift', 'ridge'] as const) {
    const corrector = await fitCorrector(kind, fitted, options);
    try {
      const corrected = await corrector.correct(hostTensor('f32', [rows, dimension], heldOut.stale));
      left.push(squaredDistance(corrected, heldOut.fresh) / rows / total);
    } finally {
      await corrector.dispose();
    }
  }
  const [shifted, affine] = left as [number, number];
  return {
    squaredDistance: total,
    meanShiftRatio: 1 - shifted,
    linearRatio: shifted - affine,
    restRatio: affine,
  };
}
