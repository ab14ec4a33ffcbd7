import { addDims, multiplyDims } from '../graph/dims.ts';
import {
  cast,
  div,
  equal,
  fill,
  gatherElements,
  logSumExp,
  maximum,
  mul,
  neg,
  reshape,
  slice,
  squeeze,
  sub,
  sum,
  tokenLogLikelihood,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * Log-probability of each token but the first, given the tokens before it.
 *
 *     log p(x_t | x_<t) = s_{t−1, x_t} − log Σ_v exp s_{t−1, v}
 *
 * Gradient: to `logits`.
 *
 * @param logits f32[B, T, V]
 * @param ids i64[B, T]
 * @returns f32[B, T − 1], in nats; entries of padding have no meaning
 */
export function nextTokenLogProbabilities(logits: Tensor, ids: Tensor): Tensor {
  const [batch, tokens, vocabulary] = logits.shape as [string, string, number];
  const places = addDims(tokens, -1);
  const rows = multiplyDims(batch, places);
  const before = reshape(slice(logits, { axis: 1, length: places }), [rows, vocabulary]);
  const next = reshape(slice(ids, { axis: 1, start: 1 }), [rows]);
  return reshape(tokenLogProbabilities(before, next), [batch, places]);
}

/**
 * Log-probability of one token for each row of logits: log p(x) = s_x − log Σ_v exp s_v.
 *
 * Gradient: to `logits`.
 *
 * @param logits f32[R, V]
 * @param ids i64[R]
 * @returns f32[R], in nats
 */
export function tokenLogProbabilities(logits: Tensor, ids: Tensor): Tensor {
  const own = squeeze(gatherElements(logits, unsqueeze(ids, 1), { axis: 1 }), 1);
  return sub(own, logSumExp(logits, { axes: 1 }));
}

/** Options of the next-token loss. */
export interface NextTokenLossOptions {
  /** Document of each token, i64[B, T], where several documents share a row. */
  documents?: Tensor | undefined;
}

/**
 * Language-model loss: the mean of −log p(x_t | x_<t) over all tokens but the first of each text or document.
 *
 * All logits are in memory together. `hiddenNextTokenLoss` computes the same in pieces.
 *
 * Gradient: to `logits`.
 *
 * @param logits f32[B, T, V]
 * @param ids i64[B, T]
 * @param mask f32[B, T]: weight of each token; 1 for tokens and 0 for padding
 * @returns f32[], in nats per token
 */
export function nextTokenLoss(
  logits: Tensor,
  ids: Tensor,
  mask: Tensor,
  { documents }: NextTokenLossOptions = {},
): Tensor {
  const counted = predictedTokens(mask, documents);
  const total = sum(mul(nextTokenLogProbabilities(logits, ids), counted));
  return neg(div(total, maximum(sum(counted), 1)));
}

/**
 * Language-model loss of `nextTokenLoss`, from hidden states and the output matrix. Logits are computed in pieces, so
 * that memory does not grow with B·T·V (see `tokenLogLikelihood`).
 *
 * Gradient: to `hidden` and `matrix`.
 *
 * @param hidden f32[B, T, D]: final hidden states, whose products with the rows of the matrix are the logits
 * @param matrix f32[V, D]
 * @param ids i64[B, T]
 * @param mask f32[B, T]: weight of each token; 1 for tokens and 0 for padding
 * @returns f32[], in nats per token
 */
export function hiddenNextTokenLoss(
  hidden: Tensor,
  matrix: Tensor,
  ids: Tensor,
  mask: Tensor,
  { documents }: NextTokenLossOptions = {},
): Tensor {
  const places = addDims(ids.shape[1]!, -1);
  const rows = multiplyDims(ids.shape[0]!, places);
  const before = reshape(slice(hidden, { axis: 1, length: places }), [rows, hidden.shape[2]!]);
  const next = reshape(slice(ids, { axis: 1, start: 1 }), [rows]);
  const counted = predictedTokens(mask, documents);
  // The signs and the number of tokens are in the weights, because the gradient of the matrix is larger than they are.
  const shares = reshape(neg(div(counted, maximum(sum(counted), 1))), [rows]);
  return tokenLogLikelihood(before, matrix, next, shares).total;
}

/**
 * Log-probability of one token for each hidden state, with logits computed in pieces (see `tokenLogLikelihood`).
 *
 * Gradient: to `hidden` and `matrix`.
 *
 * @param hidden f32[R, D]: final hidden states
 * @param matrix f32[V, D]
 * @param ids i64[R]
 * @returns f32[R], in nats
 */
export const hiddenTokenLogProbabilities = (hidden: Tensor, matrix: Tensor, ids: Tensor): Tensor =>
  tokenLogLikelihood(hidden, matrix, ids, fill(hidden.graph, 0, ids.shape)).logProbabilities;

/** Weights f32[B, T − 1] of the tokens 1 to T − 1: 0 for the first token of each document in a row, which nothing predicts. */
export function predictedTokens(mask: Tensor, documents: Tensor | undefined): Tensor {
  const counted = slice(mask, { axis: 1, start: 1 });
  if (!documents) return counted;
  const before = slice(documents, { axis: 1, length: addDims(documents.shape[1]!, -1) });
  return mul(counted, cast(equal(before, slice(documents, { axis: 1, start: 1 })), 'f32'));
}
