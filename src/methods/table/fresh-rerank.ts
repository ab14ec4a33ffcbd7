import { MASKED_SCORE } from '../../nn/masked-score.ts';
import { NONE, positionsIn } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import type { ChosenDocuments } from './table-choice.ts';

/**
 * Ranks documents that a stale table has proposed by embeddings of the current weights, without a gradient, and keeps the best of each
 * query. Equal scores stay in the order of the table.
 *
 * Cost: each distinct document embedded once, counted as `rerank`.
 *
 * @param of.queries  f32[B, D]: embeddings of the queries
 * @param of.chosen  documents that the table has proposed
 * @param of.documents  document row of each slot
 * @param of.keep  documents of each query that stay
 */
export async function rerankFresh(
  { retriever, ledger, compute, documents: tokens, temperature }: MethodContext,
  of: {
    readonly queries: Float32Array;
    readonly chosen: ChosenDocuments;
    readonly documents: ArrayLike<number>;
    readonly keep: number;
  },
): Promise<ChosenDocuments> {
  const { queries, chosen, documents, keep } = of;
  const D = retriever.dimension;
  const rows = chosen.slots.map((slot) => (slot === NONE ? NONE : documents[slot]!));
  const distinct = Uint32Array.from(new Set(rows.filter((row) => row !== NONE)));
  ledger.documents('rerank', distinct.length);
  const fresh = await retriever.encodeTokens('document', tokens, { ...compute, rows: distinct });
  const places = positionsIn(distinct, tokens.rows);
  const B = chosen.slots.length / chosen.k;
  const slots = new Int32Array(B * keep).fill(NONE);
  const scores = new Float32Array(B * keep).fill(MASKED_SCORE);
  for (let b = 0; b < B; b++) {
    const found: { slot: number; score: number }[] = [];
    for (let at = b * chosen.k; at < (b + 1) * chosen.k; at++) {
      if (rows[at] === NONE) continue;
      const start = places[rows[at]!]! * D;
      let product = 0;
      for (let d = 0; d < D; d++) product += queries[b * D + d]! * fresh[start + d]!;
      found.push({ slot: chosen.slots[at]!, score: product / temperature.value });
    }
    found.sort((one, other) => other.score - one.score);
    for (const [j, { slot, score }] of found.slice(0, keep).entries()) {
      slots[b * keep + j] = slot;
      scores[b * keep + j] = score;
    }
  }
  return { k: keep, slots, scores, maskedSlots: chosen.maskedSlots };
}
