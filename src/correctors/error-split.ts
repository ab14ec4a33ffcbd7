import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { pickRows, squaredDistance } from '../util/vector-rows.ts';
import { checkPairs } from './check-pairs.ts';
import type { EmbeddingPairs } from './corrector.ts';
import { fitCorrector } from './fit-corrector.ts';

/** Parts of the distance from stale to fresh embeddings. */
export interface ErrorSplit {
  /** Mean ‖b − fresh‖² over the held-out pairs. */
  readonly squaredDistance: number;
  /** Share of the distance that a mean shift removes. The three shares add up to 1. */
  readonly meanShiftRatio: number;
  /** Share of the distance that an affine map removes in addition to the mean shift. */
  readonly linearRatio: number;
  /** Share of the distance that remains after the affine map. */
  readonly restRatio: number;
}

/**
 * Splits the drift of embeddings by the kind of map that removes it: mean shift, affine map, or neither.
 *
 * Maps are fitted to one random half of the pairs and measured on the other half. The rest therefore contains
 * all that such a map cannot learn from so many pairs: non-linear drift and noise. A share is negative if a
 * map that helps one half harms the other.
 *
 * @throws UsageError for fewer than 4 pairs, or if no embedding has moved
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
