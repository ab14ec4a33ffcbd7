import type { Corpus } from '../data/corpus.ts';
import { compareUtf8 } from '../eval/ranking.ts';
import type { RowOrder } from '../text/row-heap.ts';

const RANKS = new WeakMap<Corpus, Uint32Array>();

/**
 * Order in which metrics rank documents of equal score: by descending id, as `rankDocuments` does.
 *
 * A search that cuts ties by this order finds the documents that the metrics would have put first, so that
 * no metric depends on how deep the search looked. The ranks of all rows are computed at the first tie and
 * kept with the corpus (4 bytes a row).
 */
export function idOrder(corpus: Corpus): RowOrder {
  let ranks: Uint32Array | undefined;
  return (a, b) => {
    ranks ??= ranksOf(corpus);
    return ranks[a]! - ranks[b]!;
  };
}

function ranksOf(corpus: Corpus): Uint32Array {
  const known = RANKS.get(corpus);
  if (known) return known;
  const ids = Array.from({ length: corpus.size }, (_, row) => corpus.id(row));
  const order = Uint32Array.from(ids.keys()).sort((a, b) => compareUtf8(ids[b]!, ids[a]!));
  const ranks = new Uint32Array(corpus.size);
  for (const [rank, row] of order.entries()) ranks[row] = rank;
  RANKS.set(corpus, ranks);
  return ranks;
}
