import type { Corpus } from '../data/corpus.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TokenStore } from '../text/token-store.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';

/**
 * Embeds the texts of a corpus, or some of its rows, as queries or as documents.
 *
 * @returns f32[rows, D]
 * @throws UsageError when `tokens` is of another corpus
 */
export async function encodeCorpus(
  retriever: Retriever,
  side: Side,
  corpus: Corpus,
  options: ComputeOptions & {
    /** Token ids of the whole corpus. */
    tokens?: TokenStore | undefined;
    /** Rows to embed. Default all. */
    rows?: Uint32Array | undefined;
    onProgress?: ((progress: Progress) => void) | undefined;
  } = {},
): Promise<Float32Array> {
  const { tokens, onProgress, device, threads } = options;
  const rows = options.rows ?? Uint32Array.from({ length: corpus.size }, (_, row) => row);
  if (tokens && tokens.rows !== corpus.size) {
    throw new UsageError(`the token store has ${tokens.rows} texts, the corpus ${corpus.size}`);
  }
  let store = tokens;
  if (!store) {
    // Only the wanted texts are read. Tokenizing a split's queries takes too little time to report.
    const report = (done: number) => {
      if (side === 'document')
        onProgress?.({ stage: 'read documents', done, total: rows.length, unit: 'texts' });
    };
    store = retriever.tokenize(side, rows.length, (i) => corpus.text(rows[i]!), {
      onProgress: ({ done }) => report(done),
    });
    report(rows.length);
  }
  return await retriever.encodeTokens(side, store, {
    ...(device && { device }),
    ...(threads && { threads }),
    ...(tokens && { rows }),
    onProgress: (progress) =>
      onProgress?.({ ...progress, stage: side === 'query' ? 'encode queries' : 'encode documents' }),
  });
}
