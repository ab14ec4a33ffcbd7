import type { RetrievalData } from '../data/retrieval-data.ts';
import type { RetrievalTask } from '../retrieval/retrieve.ts';
import { UndriftError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { permutation, rngKey } from '../util/rng.ts';

/** Rows of the corpus to fit to and to measure on, ascending. */
export interface DocumentSample {
  /** Documents that correctors are fitted to. */
  readonly fitted: Uint32Array;
  /** All other documents with text, on which the error of a fit is measured. */
  readonly heldOut: Uint32Array;
}

/**
 * Chooses documents to fit correctors to. None of them answers a query of the task, because a corrector must
 * not be measured on answers it was fitted to.
 *
 * @throws UndriftError when there are fewer than two documents to fit to and one to measure on
 */
export function sampleDocuments(
  { corpus }: RetrievalData,
  { qrels, split }: RetrievalTask,
  { sample, seed }: { sample: number; seed: number },
): DocumentSample {
  const answers = new Set<string>();
  for (const grades of qrels.values()) for (const [id, grade] of grades) if (grade > 0) answers.add(id);
  const withText = Uint32Array.from({ length: corpus.size }, (_, row) => row).filter(
    (row) => corpus.text(row).trim() !== '',
  );
  const candidates = withText.filter((row) => !answers.has(corpus.id(row)));
  const wanted = Math.min(sample, candidates.length, withText.length - 1);
  if (wanted < 2) {
    throw new UndriftError(
      `of ${corpus.size} documents ${candidates.length} answer no query of split "${split}": too few to fit to`,
      { help: `measure with fewer queries (${option('limitQueries')}), or on a larger corpus` },
    );
  }
  const order = permutation(rngKey(seed, 0, 'corrector sample'), candidates.length);
  const fitted = order
    .subarray(0, wanted)
    .map((i) => candidates[i]!)
    .sort();
  const isFitted = new Set(fitted);
  return { fitted, heldOut: withText.filter((row) => !isFitted.has(row)) };
}
