import type { TrainingExamples } from '../../data/examples.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import type { TrainingPairs } from '../contract/method.ts';

/** Queries that staleness is measured with: enough for means, few enough that their scores of 100,000 documents are quickly made. */
const PROBE_QUERIES = 128;

/**
 * Training queries that a run is diagnosed with, each with its first positive: the same ones each time, so that what changes
 * between two diagnoses is the encoder and the cache.
 */
export function diagnosisProbe({ queryRows, positives }: TrainingExamples, seed: number): TrainingPairs {
  const picked = permutation(rngKey(seed, 0, 'diagnosis/queries'), queryRows.length)
    .slice(0, PROBE_QUERIES)
    .sort();
  return {
    queryRows: Int32Array.from(picked, (i) => queryRows[i]!),
    positiveRows: Int32Array.from(picked, (i) => positives.rows[positives.offsets[i]!]!),
  };
}
