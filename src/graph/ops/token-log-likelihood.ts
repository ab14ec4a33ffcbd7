import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireDType } from './broadcast.ts';

/** Number of scores that are in memory at one time: 128 MB. */
const SCORES_PER_PIECE = 1 << 25;

/**
 * Log-probabilities of one token for each hidden state, and their weighted sum:
 *
 *     log p_r = s_{r, ids_r} − log Σ_v exp s_{r, v}   with  s = hidden · matrixᵀ,      total = Σ_r weights_r log p_r
 *
 * The scores s [R, V] are computed in pieces of rows, so that they are never in memory together. If a gradient of the
 * total is needed, each piece also gives its part of the gradient in the same pass, and no score is computed twice.
 * Gradients of `logProbabilities` compute the scores again. Gradients of gradients are not supported.
 *
 * @param hidden f32[R, D]
 * @param matrix f32[V, D]
 * @param ids i64[R]: token of each row; gets no gradient
 * @param weights f32[R]
 * @param options.scoresPerPiece number of scores in memory at one time, at least one row; default 2²⁵
 * @returns total f32[], logProbabilities f32[R] in nats
 * @throws ShapeError if shapes or dtypes do not match
 */
export function tokenLogLikelihood(
  hidden: Tensor,
  matrix: Tensor,
  ids: Tensor,
  weights: Tensor,
  { scoresPerPiece = SCORES_PER_PIECE }: { scoresPerPiece?: number } = {},
): { total: Tensor; logProbabilities: Tensor } {
  const what = 'tokenLogLikelihood';
  requireDType(what, ids, 'i64');
  for (const each of [hidden, matrix, weights]) requireDType(what, each, 'f32');
  const [rows, size] = hidden.shape;
  const fits =
    hidden.rank === 2 &&
    matrix.rank === 2 &&
    sameDim(matrix.shape[1]!, size!) &&
    [ids, weights].every(({ rank, shape }) => rank === 1 && sameDim(shape[0]!, rows!));
  if (!fits || typeof matrix.shape[0] !== 'number') {
    throw new ShapeError(
      `${what}: ${[hidden, matrix, ids, weights].map((each) => each.describe()).join(', ')} must be [R, D], [V, D], [R], [R] with V known`,
    );
  }
  const f32 = (shape: Tensor['shape']) => ({ dtype: 'f32' as const, shape });
  const outputs = [f32([]), f32([rows!]), f32(hidden.shape), f32(matrix.shape)];
  const inputs = [hidden, matrix, ids, weights];
  const made = hidden.graph.add('TokenLogLikelihood', inputs, { scoresPerPiece }, outputs);
  return { total: made[0]!, logProbabilities: made[1]! };
}
