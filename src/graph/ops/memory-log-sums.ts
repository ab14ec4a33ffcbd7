import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireDType } from './broadcast.ts';
import { fill } from './shape.ts';

/** Number of scores that are in memory at one time: 16 MB for each of a few arrays of them. */
const SCORES_PER_PIECE = 1 << 22;

/** Logarithm of a sum over no token. It is finite, and exp of it is 0. */
export const EMPTY_SUM = -1e9;

/** Options of `memoryLogSums`. */
export interface MemoryLogSumsOptions {
  /** Factor of the inner products. Default 1. */
  scale?: number;
  /** Whether a query may see all tokens of other groups. Default false. */
  others?: boolean;
  /** Number of scores in memory at one time, at least those of one query. Default 2²². */
  scoresPerPiece?: number;
}

/**
 * Sums over the tokens of a memory that a query may see, and over those that also have the label of the query:
 *
 *     all_r = log Σ_{m allowed} exp s_rm,      matching_r = log Σ_{m allowed, label_m = label_r} exp s_rm      with  s = scale · queries · keysᵀ
 *
 * A token of the same group is allowed if its place is below that of the query. Tokens of other groups are allowed with `others`. A token
 * of the group −1 is in no memory, if its place is not below that of any query of that group. A sum over no token is `EMPTY_SUM`.
 *
 * The scores [R, M] are computed in pieces of queries, so that they are never in memory together. Gradients, to queries and keys, compute
 * them again. Gradients of gradients are not supported.
 *
 * @param queries f32[R, D]
 * @param keys f32[M, D]
 * @param marks.queries i64[R, 3]: label, group and place of each query; no gradient
 * @param marks.keys i64[M, 3]: the same of each token of the memory; no gradient
 * @returns all and matching, f32[R]
 * @throws ShapeError if shapes or dtypes do not match
 */
export function memoryLogSums(
  queries: Tensor,
  keys: Tensor,
  marks: { readonly queries: Tensor; readonly keys: Tensor },
  options: MemoryLogSumsOptions = {},
): { all: Tensor; matching: Tensor } {
  const none = fill(queries.graph, 0, [queries.shape[0]!, 2]);
  const [all, matching] = weightedMemoryLogSums([queries, keys, marks.queries, marks.keys, none], options);
  return { all: all!, matching: matching! };
}

/**
 * Adds the node of `memoryLogSums`, of which gradients are outputs.
 *
 * @param inputs queries, keys, marks of both, and weights f32[R, 2]
 * @returns all, matching, and the gradients of Σ_r weights_r0 all_r + weights_r1 matching_r to queries and keys
 */
export function weightedMemoryLogSums(
  inputs: readonly Tensor[],
  { scale = 1, others = false, scoresPerPiece = SCORES_PER_PIECE }: MemoryLogSumsOptions,
): Tensor[] {
  const [queries, keys, queryMarks, keyMarks, weights] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const what = 'memoryLogSums';
  for (const each of [queries, keys, weights]) requireDType(what, each, 'f32');
  for (const each of [queryMarks, keyMarks]) requireDType(what, each, 'i64');
  const [rows, size] = queries.shape;
  const has = ({ rank, shape }: Tensor, first: unknown, second: unknown) =>
    rank === 2 && sameDim(shape[0]!, first as never) && sameDim(shape[1]!, second as never);
  const fits =
    inputs.every(({ rank }) => rank === 2) &&
    typeof size === 'number' &&
    has(keys, keys.shape[0], size) &&
    has(queryMarks, rows, 3) &&
    has(keyMarks, keys.shape[0], 3) &&
    has(weights, rows, 2);
  if (!fits) {
    throw new ShapeError(
      `${what}: ${inputs.map((each) => each.describe()).join(', ')} must be [R, D], [M, D], [R, 3], [M, 3], [R, 2] with D known`,
    );
  }
  const f32 = (shape: Tensor['shape']) => ({ dtype: 'f32' as const, shape });
  const outputs = [f32([rows!]), f32([rows!]), f32(queries.shape), f32(keys.shape)];
  return queries.graph.add('MemoryLogSums', [...inputs], { scale, others, scoresPerPiece }, outputs);
}
