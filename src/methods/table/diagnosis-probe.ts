import { permutation, rngKey } from '../../util/rng.ts';
import type { MethodContext, TrainingPairs } from '../contract/method.ts';

/** Queries of a probe: enough for means, and few enough to score quickly against 100,000 documents. */
const PROBE_QUERIES = 128;

/**
 * Picks up to 128 training queries for diagnoses, each with its first positive. The same queries are picked each time, so that
 * two diagnoses differ only by the encoder and the cache.
 */
export function diagnosisProbe({
  examples: { queryRows, positives },
  seed,
}: Pick<MethodContext, 'examples' | 'seed'>): TrainingPairs {
  const picked = permutation(rngKey(seed, 0, 'diagnosis/queries'), queryRows.length)
    .slice(0, PROBE_QUERIES)
    .sort();
  return {
    queryRows: Int32Array.from(picked, (i) => queryRows[i]!),
    positiveRows: Int32Array.from(picked, (i) => positives.rows[positives.offsets[i]!]!),
  };
}
