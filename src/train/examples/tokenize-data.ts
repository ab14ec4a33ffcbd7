import type { RetrievalData } from '../../data/retrieval-data.ts';
import type { Retriever, Side, TokenizeOptions } from '../../models/retriever/retriever.ts';
import type { TokenStore } from '../../text/token-store.ts';

/** Tokenises all texts of a side. */
export function tokenizeSide(
  retriever: Retriever,
  side: Side,
  data: RetrievalData,
  { spill, onProgress }: TokenizeOptions = {},
): TokenStore {
  const texts = side === 'query' ? data.queries : data.corpus;
  const stage = side === 'query' ? 'tokenise queries' : 'tokenise documents';
  return retriever.tokenize(side, texts.size, (row) => texts.text(row), {
    // Queries are few.
    spill: side === 'query' ? undefined : spill,
    onProgress: (progress) => onProgress?.({ ...progress, stage }),
  });
}

/** Tokenises all documents in full length, without prompts or special tokens. */
export const tokenizeWhole = (
  retriever: Retriever,
  { corpus }: RetrievalData,
  { spill, onProgress }: TokenizeOptions = {},
): TokenStore =>
  retriever.tokenizeWhole(corpus.size, (row) => corpus.text(row), {
    spill,
    onProgress: (progress) => onProgress?.({ ...progress, stage: 'tokenise documents' }),
  });
