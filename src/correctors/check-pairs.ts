import { ShapeError } from '../util/errors.ts';
import type { CorrectorBatch } from './corrector.ts';
import { notFinite } from './row-map.ts';

/**
 * Checks the pairs of a batch and returns their number.
 *
 * @throws ShapeError when sizes do not fit together
 * @throws UsageError when a number is not finite
 */
export function checkPairs(
  batch: CorrectorBatch,
  sizes: { name: string; dimension: number; toDimension: number; usesAges?: boolean },
): number {
  const { name, dimension, toDimension, usesAges = false } = sizes;
  const { stale, fresh, ages, queries } = batch;
  const pairs = stale.length / dimension;
  const fail = (what: string) => new ShapeError(`corrector ${name}: ${what}`);
  if (!Number.isInteger(pairs) || pairs === 0)
    throw fail(`${stale.length} numbers are no stale embeddings of ${dimension}`);
  if (fresh.length !== pairs * toDimension) {
    throw fail(
      `${pairs} stale embeddings need ${pairs * toDimension} numbers of fresh ones, found ${fresh.length}`,
    );
  }
  if (usesAges && ages?.length !== pairs)
    throw fail(`${pairs} pairs need as many ages, found ${ages ? ages.length : 'none'}`);
  if (queries && (queries.length === 0 || queries.length % toDimension !== 0))
    throw fail(`${queries.length} numbers are no queries of ${toDimension}`);
  for (const [what, values] of Object.entries({ stale, fresh, queries })) {
    if (values && !isFiniteSum(values)) throw notFinite(`the ${what} embeddings`);
  }
  return pairs;
}

/** Tests whether the sum is finite. For a few hundred rows this is as fast as a compiled program. */
function isFiniteSum(values: Float32Array): boolean {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return Number.isFinite(total);
}
