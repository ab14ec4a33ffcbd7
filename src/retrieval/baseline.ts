import type { RetrievalData } from '../data/retrieval-data.ts';
import { evaluateLexical, type SplitOptions } from './evaluate-retriever.ts';
import type { LexicalRetrieveOptions } from './retrieve.ts';

/** Name of the baseline in tables. */
export const BASELINE = 'BM25';
/**
 * Largest corpus, in documents, on which BM25 is measured beside a model. The index of a larger one would take
 * gigabytes of memory that the model's own vectors may need.
 */
export const BASELINE_DOCUMENTS = 1_000_000;

/** Metrics of BM25 by split and options, for each data set. The index itself is not kept. */
const measured = new WeakMap<RetrievalData, Map<string, Promise<Readonly<Record<string, number>>>>>();

/**
 * Measures BM25 on a split, as the figure that a model should exceed. Measured once for a data set, split and
 * options.
 *
 * @returns metrics by name; undefined for a corpus of more than {@link BASELINE_DOCUMENTS} documents
 */
export async function measureBaseline(
  data: RetrievalData,
  split: string,
  options: SplitOptions & LexicalRetrieveOptions,
): Promise<Readonly<Record<string, number>> | undefined> {
  if (data.corpus.size > BASELINE_DOCUMENTS) return undefined;
  const { onProgress, tokenize, ...values } = options;
  const evaluate = async () => (await evaluateLexical('bm25', data, split, options)).metrics;
  if (tokenize) return await evaluate();
  const ofData = measured.get(data) ?? new Map<string, Promise<Readonly<Record<string, number>>>>();
  measured.set(data, ofData);
  const key = JSON.stringify([split, values]);
  const found = ofData.get(key) ?? evaluate();
  ofData.set(key, found);
  // A failure is not kept: the next call tries again.
  found.catch(() => ofData.delete(key));
  return await found;
}
