import { DataError } from '../util/errors.ts';
import type { Corpus } from './corpus.ts';
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

/** Readers by the kind of data that they read, in the order in which they are tried. */
const READERS: readonly { read: (path: string, options: LoadOptions) => Promise<AnyData> }[] = [
  { read: async (path, options) => ofPairs('pairs', await loadData(path, options)) },
  { read: async (path, options) => ofPairs('scored-pairs', await loadScoredPairs(path, options)) },
  {
    async read(path, options) {
      const { name, corpus, fingerprint, notes } = await loadTexts(path, options);
      return { kind: 'texts', name, corpus, fingerprint, notes };
    },
  },
];

const ofPairs = (kind: DataKind, data: RetrievalData): AnyData => {
  const { name, corpus, fingerprint, notes } = data;
  return { kind, name, corpus, fingerprint, notes, data };
};

/**
 * Loads a data set whose kind is not known: queries with judgements or pairs (see `loadData`), scored pairs, or documents alone.
 *
 * @throws DataError where no reader accepts the data. It is the error of the reader that came furthest: a bad row in the middle of
 *   a file of pairs is an error about this row, not about the layout.
 */
export async function loadAnyData(path: string, options: LoadOptions = {}): Promise<AnyData> {
  let furthest: DataError | undefined;
  for (const { read } of READERS) {
    try {
      return await read(path, options);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      if (furthest === undefined || (error.line ?? 0) > (furthest.line ?? 0)) furthest = error;
    }
  }
  throw furthest!;
}
