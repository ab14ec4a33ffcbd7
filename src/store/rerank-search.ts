import { joinTitle } from '../data/corpus.ts';
import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { RERANK_DEPTH, rerankTexts } from '../retrieval/rerank.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { StoredPassage } from './passage-table.ts';

/** Reranking of a search in a store. */
export interface StoreRerank extends ComputeOptions {
  /** Cross-encoder that reads the query with each passage. It belongs to the caller. */
  readonly crossEncoder: CrossEncoder;
  /** Passages that it reads for each query. Default 50. */
  readonly depth?: number | undefined;
}

/** Passage that was found, with its place. */
interface Hit extends StoredPassage {
  readonly rank: number;
  readonly score: number;
}

/** Options of a search on which the number of its hits depends. */
interface Depths {
  readonly topK?: number | undefined;
  readonly candidates?: number | undefined;
}

/**
 * Searches for several texts, and reranks what is found. Scores are those of the cross-encoder; passages beyond its depth follow in
 * their order, with scores below them.
 *
 * @param search  search without reranking
 */
export async function searchReranked<H extends Hit, O extends Depths>(
  search: (options: Omit<O, 'rerank'>) => Promise<H[][]>,
  texts: readonly string[],
  { rerank, ...options }: O & { readonly rerank: StoreRerank },
): Promise<H[][]> {
  const { crossEncoder, depth = RERANK_DEPTH.default, ...compute } = rerank;
  const { topK = 10, candidates = Math.max(100, 10 * topK, depth) } = options as Depths;
  const found = await search({ ...options, topK: Math.max(topK, depth), candidates });
  const reranked: H[][] = [];
  for (const [i, hits] of found.entries()) {
    const passages = hits.map(({ title, text }) => joinTitle(title, text));
    const order = await rerankTexts(crossEncoder, texts[i]!, passages, { depth, topK, ...compute });
    reranked.push(order.map(({ document, score }, rank) => ({ ...hits[document]!, rank: rank + 1, score })));
  }
  return reranked;
}
