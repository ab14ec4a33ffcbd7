import { joinTitle } from '../data/corpus.ts';
import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { RERANK_DEPTH, rerankTexts } from '../retrieval/rerank.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { StoreHit, StoreSearchOptions } from './store-searcher.ts';

/** Reranking of a search in a store. */
export interface StoreRerank extends ComputeOptions {
  /** Cross-encoder that reads the query with each passage. It belongs to the caller. */
  readonly crossEncoder: CrossEncoder;
  /** Passages that it reads for each query. Default 50. */
  readonly depth?: number | undefined;
}

/**
 * Searches for several texts, and reranks what is found. Scores are those of the cross-encoder; passages beyond its depth follow in
 * their order, with scores below them.
 *
 * @param search  search without reranking
 */
export async function searchReranked(
  search: (options: StoreSearchOptions) => Promise<StoreHit[][]>,
  texts: readonly string[],
  { rerank, ...options }: StoreSearchOptions & { readonly rerank: StoreRerank },
): Promise<StoreHit[][]> {
  const { crossEncoder, depth = RERANK_DEPTH.default, ...compute } = rerank;
  const { topK = 10, candidates = Math.max(100, 10 * topK, depth) } = options;
  const found = await search({ ...options, topK: Math.max(topK, depth), candidates });
  const reranked: StoreHit[][] = [];
  for (const [i, hits] of found.entries()) {
    const passages = hits.map(({ title, text }) => joinTitle(title, text));
    const order = await rerankTexts(crossEncoder, texts[i]!, passages, { depth, topK, ...compute });
    reranked.push(order.map(({ document, score }, rank) => ({ ...hits[document]!, rank: rank + 1, score })));
  }
  return reranked;
}
