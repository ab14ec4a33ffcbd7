import { gatherElements, range, squeeze, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { NegativeScores } from '../../losses/negative-scores.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { ScoredBatch } from './score-loss.ts';

/**
 * Picks the scores of each query's positive, and of its own negatives. The positive of query i is document i. The columns of the
 * negatives are inputs that the step must feed: `negatives` i64[queries, k], and `drawn` bool[queries, k], which is false where a
 * query has fewer than k.
 */
export function ownNegatives({ scores, input }: ScoredBatch): NegativeScores {
  return {
    positive: ownPositives(scores),
    negatives: gatherElements(scores, input('negatives', 'i64', ['queries', 'k']), { axis: 1 }),
    allowed: input('drawn', 'bool', ['queries', 'k']),
  };
}

/** Picks the scores of each query's positive, f32[queries]: the diagonal of f32[queries, documents]. */
export const ownPositives = (scores: Tensor): Tensor =>
  squeeze(gatherElements(scores, unsqueeze(range(scores.graph, 'queries'), 1), { axis: 1 }), 1);

/** Documents of a step in which each query has negatives of its own. */
export interface OwnColumns {
  /**
   * i32[C]: document rows to embed. Documents that are embedded anyway come first, then each negative once, however many queries
   * have it.
   */
  readonly documentRows: Int32Array;
  /** i64[B, k]: places in `documentRows` of each query's negatives. */
  readonly columns: BigInt64Array<ArrayBuffer>;
  /** bool[B, k]: false where a query has fewer than k negatives. */
  readonly drawn: Uint8Array<ArrayBuffer>;
}

/**
 * Lists the documents to embed, and the places of each query's negatives among them.
 *
 * @param embedded  document rows of the batch that are embedded anyway
 * @param own  i32[B, k]: document rows of each query's negatives; `NONE` where it has fewer
 */
export function ownColumns(embedded: Iterable<number>, own: Int32Array): OwnColumns {
  const documents = [...embedded];
  const columnOf = new Map<number, number>();
  for (const [column, document] of documents.entries())
    if (!columnOf.has(document)) columnOf.set(document, column);
  const columns = new BigInt64Array(own.length);
  const drawn = new Uint8Array(own.length);
  for (const [at, document] of own.entries()) {
    if (document === NONE) continue;
    let column = columnOf.get(document);
    if (column === undefined) {
      column = documents.push(document) - 1;
      columnOf.set(document, column);
    }
    columns[at] = BigInt(column);
    drawn[at] = 1;
  }
  return { documentRows: Int32Array.from(documents), columns, drawn };
}
