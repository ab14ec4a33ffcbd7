import type { Corpus } from '../data/corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { RankedRows } from '../text/inverted-index.ts';
import { RowHeap } from '../text/row-heap.ts';
import type { TokenStore } from '../text/token-store.ts';
import type { Progress } from '../util/progress.ts';
import { encodeCorpus } from './encode-corpus.ts';
import { idOrder } from './id-order.ts';

/**
 * Finds the k best documents of each query, with the embeddings of one block of documents in memory at a time. Equal scores are
 * ordered by descending id.
 *
 * @param queries  f32[B, D], row-major
 * @param options.blockRows  documents of a block
 * @param options.tokens  token ids of all documents. Default: made block by block
 * @returns  rows and scores of each query, best first
 */
export async function searchInBlocks(
  retriever: Retriever,
  corpus: Corpus,
  queries: Float32Array,
  {
    k,
    blockRows,
    tokens,
    onProgress,
    ...compute
  }: ComputeOptions & {
    readonly k: number;
    readonly blockRows: number;
    readonly tokens?: TokenStore | undefined;
    readonly onProgress?: ((progress: Progress) => void) | undefined;
  },
): Promise<RankedRows[]> {
  const D = retriever.dimension;
  const order = idOrder(corpus);
  const heaps = Array.from(
    { length: queries.length / D },
    () => new RowHeap(Math.min(k, corpus.size), order),
  );
  for (let start = 0; start < corpus.size; start += blockRows) {
    const end = Math.min(corpus.size, start + blockRows);
    const embeddings = await encodeCorpus(retriever, 'document', corpus, {
      ...compute,
      tokens,
      rows: Uint32Array.from({ length: end - start }, (_, i) => start + i),
      onProgress: (progress) =>
        onProgress?.({ ...progress, done: start + progress.done, total: corpus.size }),
    });
    const index = ExactIndex.create(embeddings, D, compute);
    try {
      const ties = (a: number, b: number) => order(start + a, start + b);
      const found = await index.search(queries, k, { ties });
      for (const [b, heap] of heaps.entries()) {
        for (let i = b * found.k; i < (b + 1) * found.k; i++)
          heap.offer(start + found.rows[i]!, found.scores[i]!);
      }
    } finally {
      await index.dispose();
    }
  }
  return heaps.map((heap) => heap.take());
}
