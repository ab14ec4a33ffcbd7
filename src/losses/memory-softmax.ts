import { addDims, multiplyDims } from '../graph/dims.ts';
import {
  add,
  div,
  fill,
  gather,
  maximum,
  memoryLogSums,
  mul,
  neg,
  reshape,
  slice,
  softplus,
  stopGradient,
  sub,
  sum,
  tokenLogLikelihood,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { predictedTokens } from './next-token.ts';

/** States and marks with which tokens of a batch remember each other. */
export interface TokenMemoryInputs {
  /** f32[B, T, D]: state g of each place, which is the query for the token after it and the key under which this token is found. */
  readonly states: Tensor;
  /**
   * i64[B, T, 3]: token after each place, group of the place, and place in the group. A token is found by later places of its group. The
   * group −1 with the place 0 is for places that predict nothing: they are in no memory.
   */
  readonly marks: Tensor;
}

/** Options of `memorySoftmaxLoss`. */
export interface MemorySoftmaxOptions {
  /** Piece of a document that each token belongs to, i64[B, T], where several pieces share a row. */
  readonly documents?: Tensor | undefined;
  /** Whether a place finds all tokens of other groups. Default false. */
  readonly others?: boolean | undefined;
  /** Whether the keys get no gradient. Default false: they are trained to be found. */
  readonly detached?: boolean | undefined;
  /** Scores of a memory that are in memory at a time; see `memoryLogSums`. */
  readonly scoresPerPiece?: number | undefined;
}

/**
 * Loss of TRIME: the mean of −log P(x_t | x_<t), with one softmax over the vocabulary and the tokens of a memory.
 *
 *     P(w | c) ∝ exp(E_w · f(c)) + Σ_{j allowed, x_j = w} exp(g(c) · g(c_j) / √D)
 *
 * With L = log Σ_v exp(E_v · f), s = E_x · f, and the log-sums A over the allowed and M over the matching tokens of the memory,
 *
 *     log P = (s − L) − softplus(A − L) + softplus(M − s)
 *
 * so that an empty memory gives the loss of `hiddenNextTokenLoss` to the bit. Scores of the vocabulary and of the memory are computed in
 * pieces. Those of the vocabulary are computed again for the gradient, which depends on A and M.
 *
 * Gradient: to `hidden`, `matrix` and the states, as queries and, unless `detached`, as keys.
 *
 * @param hidden f32[B, T, D]: final hidden states f
 * @param matrix f32[V, D]: output matrix E
 * @param ids i64[B, T]
 * @param mask f32[B, T]: weight of each token; 1 for tokens and 0 for padding
 * @returns f32[], in nats per token
 * @paper Zhong, Lei, Chen 2022: "Training Language Models with Memory Augmentation"
 */
export function memorySoftmaxLoss(
  hidden: Tensor,
  matrix: Tensor,
  { states, marks }: TokenMemoryInputs,
  { ids, mask }: { readonly ids: Tensor; readonly mask: Tensor },
  options: MemorySoftmaxOptions = {},
): Tensor {
  const { documents, others = false, detached = false, scoresPerPiece } = options;
  const places = addDims(ids.shape[1]!, -1);
  const rows = multiplyDims(ids.shape[0]!, places);
  const before = (x: Tensor) => reshape(slice(x, { axis: 1, length: places }), [rows, x.shape[2]!]);
  const next = reshape(slice(ids, { axis: 1, start: 1 }), [rows]);
  const f = before(hidden);
  const { logProbabilities } = tokenLogLikelihood(f, matrix, next, fill(f.graph, 0, [rows]));
  const target = sum(mul(f, gather(matrix, next)), { axes: 1 });
  const all = sub(target, logProbabilities);
  const queries = before(states);
  const own = before(marks);
  const memory = memoryLogSums(
    queries,
    detached ? stopGradient(queries) : queries,
    { queries: own, keys: own },
    {
      ...{ scale: 1 / Math.sqrt(states.shape[2] as number), others },
      ...(scoresPerPiece !== undefined && { scoresPerPiece }),
    },
  );
  const found = sub(softplus(sub(memory.matching, target)), softplus(sub(memory.all, all)));
  const counted = predictedTokens(mask, documents);
  const shares = reshape(neg(div(counted, maximum(sum(counted), 1))), [rows]);
  return sum(mul(shares, add(logProbabilities, found)));
}
