import { gatherElements, range, squeeze, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { NegativeScores } from '../../losses/negative-scores.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { ScoredBatch } from './score-loss.ts';

/**
 * The scores of each query's positive, which is the document of its number, and of its own negatives, whose columns are fed:
 * `negatives` i64[queries, k], and `drawn` bool[queries, k], which of them there are.
 */
export function ownNegatives({ scores, input }: ScoredBatch): NegativeScores {
  return {
    positive: ownPositives(scores),
    negatives: gatherElements(scores, input('negatives', 'i64', ['queries', 'k']), { axis: 1 }),
    allowed: input('drawn', 'bool', ['queries', 'k']),
  };
}

/** f32[queries]: the diagonal of a matrix f32[queries, documents]. */
export const ownPositives = (scores: Tensor): Tensor =>
  squeeze(gatherElements(scores, unsqueeze(range(scores.graph, 'queries'), 1), { axis: 1 }), 1);

/** What a step embeds where each query has negatives of its own. */
export interface OwnColumns {
  /** What is embedded anyway, and then each negative once, however many queries have it. */
  readonly documentRows: Int32Array;
  /** i64[B, k]: where among these each query's own negatives are. */
  readonly columns: BigInt64Array<ArrayBuffer>;
  /** bool[B, k]: which of them there are. */
  readonly drawn: Uint8Array<ArrayBuffer>;
}

/**
 * @param embedded  documents of the batch that are embedded anyway
 * @param own  i32[B, k]: negatives of each query; `NONE` where it has fewer
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
