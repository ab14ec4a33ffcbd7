import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { TokenStore } from '../text/token-store.ts';
import type { TrainCallbacks } from './train-retriever.ts';

type Progress = Pick<TrainCallbacks, 'onProgress'>;

/** Token ids of all texts of a side. */
export function tokenize(
  retriever: Retriever,
  side: 'query' | 'document',
  data: RetrievalData,
  callbacks: Progress,
): TokenStore {
  const texts = side === 'query' ? data.queries : data.corpus;
  return retriever.tokenize(side, texts.size, (row) => texts.text(row), {
    onProgress: (done) =>
      callbacks.onProgress?.(side === 'query' ? 'tokenise queries' : 'tokenise documents', done, texts.size),
  });
}

/** Those of the documents in full length, without prompts and special tokens. */
export function tokenizeWhole(
  retriever: Retriever,
  { corpus }: RetrievalData,
  callbacks: Progress,
): TokenStore {
  return retriever.tokenizeWhole(corpus.size, (row) => corpus.text(row), {
    onProgress: (done) => callbacks.onProgress?.('tokenise documents', done, corpus.size),
  });
}
