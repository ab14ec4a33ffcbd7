import type { RankedRows } from '../search/fusion.ts';
import type { TermMatch } from './passage-table.ts';
import type { StoreView } from './store-view.ts';

/** Passages asked for beyond the expected number, where only a share of them fulfils a condition. */
const MARGIN = 1.5;
/** Most passages that are ranked to find those that fulfil a condition. Beyond, the condition is evaluated by the search. */
const MOST_DEPTH = 16_384;

/**
 * Finds the k passages of the largest BM25 score among those that fulfil a condition.
 *
 * Evaluating a condition on the metadata of all passages takes far longer than ranking. The passages that fulfil it are therefore
 * remembered by the view, and more and more are ranked until k of them do, or no other passage has a term of the query.
 *
 * @param terms  index terms of the query
 * @param condition  condition as SQL; undefined for none
 */
export async function searchTerms(
  view: StoreView,
  terms: readonly string[],
  k: number,
  condition: string | undefined,
): Promise<RankedRows> {
  const { passages } = view.snapshot;
  if (condition === undefined) return ranked(await passages.search(terms, k));
  const matching = await view.passagesOf(condition);
  if (matching.size === 0 || terms.length === 0) return ranked([]);
  const share = matching.size / Math.max(1, await passages.count());
  for (let depth = Math.ceil((MARGIN * k) / share); depth <= MOST_DEPTH; depth *= 4) {
    const found = await passages.search(terms, depth);
    const kept = found.filter(({ pid }) => matching.has(pid));
    if (kept.length >= k || found.length < depth) return ranked(kept.slice(0, k));
  }
  return ranked(await passages.search(terms, k, condition));
}

const ranked = (matches: readonly TermMatch[]): RankedRows => ({
  rows: matches.map(({ pid }) => pid),
  scores: matches.map(({ score }) => score),
});
