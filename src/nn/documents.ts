import { cast, equal, less, mul, range, sub, sum, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { UNSEEN } from './attention.ts';

/*
 * Documents that share a row of a batch. Their tokens have a document number each, i64[B, T]. A document may begin
 * anywhere in the row.
 */

/** Tells whether the tokens of a pair belong to one document: 1 or 0, f32[B, T, T]. */
const ofOneDocument = (documents: Tensor): Tensor =>
  cast(equal(unsqueeze(documents, 1), unsqueeze(documents, 2)), 'f32');

/**
 * Additive attention mask that keeps every token within its document.
 *
 * @param documents i64[B, T]
 * @returns f32[B, 1, T, T]: 0 for pairs of one document, −1e9 for others
 */
export const documentBias = (documents: Tensor): Tensor =>
  unsqueeze(mul(sub(1, ofOneDocument(documents)), UNSEEN), 1);

/**
 * Positions of tokens in their documents: the number of earlier tokens of the same document.
 *
 * @param documents i64[B, T]
 * @returns f32[B, T]
 */
export function documentPositions(documents: Tensor): Tensor {
  const places = range(documents.graph, documents.shape[1]!);
  const earlier = cast(less(unsqueeze(places, 0), unsqueeze(places, 1)), 'f32');
  return sum(mul(ofOneDocument(documents), earlier), { axes: 2 });
}
