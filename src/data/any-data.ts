import type { Corpus } from './corpus.ts';
import { dataKind } from './documents.ts';
import { findData } from './find-data.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import type { RetrievalData } from './retrieval-data.ts';
import { loadScoredPairs } from './scored-pairs.ts';
import { loadTexts } from './texts.ts';

/** Kind of data: queries with their documents, pairs of texts with a score each, or documents alone. */
export type DataKind = 'pairs' | 'scored-pairs' | 'texts';

/** Data set of any kind that a method can train on. */
export interface AnyData {
  /** Kind of the data. */
  readonly kind: DataKind;
  /** Name of the data set. */
  readonly name: string;
  /** Documents. Of scored pairs, the second texts. */
  readonly corpus: Corpus;
  /** Short SHA-256 of the bytes of all files. */
  readonly fingerprint: string;
  /** Notes of the reader. */
  readonly notes: readonly string[];
  /** Queries and judgements; absent for documents alone. */
  readonly data?: RetrievalData;
}

/**
 * Loads a data set whose kind is not known: queries with judgements or pairs (see `loadData`), scored pairs, or documents alone.
 *
 * @throws DataError where the files are of no known kind or invalid
 */
export async function loadAnyData(named: string, options: LoadOptions = {}): Promise<AnyData> {
  const path = await findData(named, options);
  const kind = await dataKind(path, options);
  if (kind === 'scored pairs') return ofPairs('scored-pairs', await loadScoredPairs(named, options));
  if (kind === 'pairs') return ofPairs('pairs', await loadData(named, options));
  const { name, corpus, fingerprint, notes } = await loadTexts(named, options);
  return { kind: 'texts', name, corpus, fingerprint, notes };
}

const ofPairs = (kind: DataKind, data: RetrievalData): AnyData => {
  const { name, corpus, fingerprint, notes } = data;
  return { kind, name, corpus, fingerprint, notes, data };
};
