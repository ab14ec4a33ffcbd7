import type { RetrievalData } from '../../data/retrieval-data.ts';
import type { Retriever, Side } from '../../models/retriever/retriever.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { Progress } from '../../util/progress.ts';

type Report = ((progress: Progress) => void) | undefined;

/** Tokenises all texts of a side. */
export function tokenizeSide(
  retriever: Retriever,
  side: Side,
  data: RetrievalData,
  onProgress: Report,
): TokenStore {
  const texts = side === 'query' ? data.queries : data.corpus;
  const stage = side === 'query' ? 'tokenise queries' : 'tokenise documents';
  return retriever.tokenize(side, texts.size, (row) => texts.text(row), {
    onProgress: (progress) => onProgress?.({ ...progress, stage }),
  });
}

/** Tokenises all documents in full length, without prompts or special tokens. */
export const tokenizeWhole = (
  retriever: Retriever,
  { corpus }: RetrievalData,
  onProgress: Report,
): TokenStore =>
  retriever.tokenizeWhole(corpus.size, (row) => corpus.text(row), {
    onProgress: (progress) => onProgress?.({ ...progress, stage: 'tokenise documents' }),
  });
