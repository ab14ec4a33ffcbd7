import { type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import {
  abs,
  add,
  cast,
  greater,
  matmul,
  mul,
  range,
  reshape,
  softmax,
  sub,
  transpose,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type Dropout, dropout } from './layers.ts';

/** What is added to the score of a pair of tokens that do not see each other. */
const UNSEEN = -1e9;

/** Additive attention mask: 0 where a token is, a large negative number where padding is. f32[B, 1, 1, T] */
export function attentionBias(mask: Tensor): Tensor {
  return unsqueeze(unsqueeze(mul(sub(1, mask), UNSEEN), 1), 1);
}

/** A token sees itself and what stands before it. f32[1, 1, T, T] */
export const causalBias = (graph: Graph, tokens: Dim): Tensor =>
  unsqueeze(unsqueeze(mul(cast(greater(distances(graph, tokens), 0), 'f32'), UNSEEN), 0), 0);

/** A token sees those at most `reach` places away, on either side. f32[1, 1, T, T] */
export const localBias = (graph: Graph, tokens: Dim, reach: number): Tensor =>
  unsqueeze(unsqueeze(mul(cast(greater(abs(distances(graph, tokens)), reach), 'f32'), UNSEEN), 0), 0);

/** Place of the key minus place of the query: f32[T, T] */
function distances(graph: Graph, tokens: Dim): Tensor {
  const places = cast(range(graph, tokens), 'f32');
  return sub(unsqueeze(places, 0), unsqueeze(places, 1));
}

/** What attention needs to know beside its operands. */
export interface AttentionOptions {
  /** B and T, which the operands have only as a product. */
  batch: Dim;
  tokens: Dim;
  /** Heads of the queries, H. */
  heads: number;
  /** Heads of keys and values, G; each serves H/G heads of queries that stand side by side. Default H. */
  keyHeads?: number;
  /** Added to the scores: f32 that broadcasts to [B, H, T, T], such as `attentionBias`. */
  bias: Tensor;
  /** What is done to the heads of queries and keys, f32[B, heads, T, S], before they meet: rotary positions, a norm. */
  prepare?: (heads: Tensor, of: 'query' | 'key') => Tensor;
  /** Name of the place, where attention weights are dropped. */
  site: string;
  dropout?: Dropout | undefined;
}

/**
 * Attention with H heads of size S:  softmax(Q Kᵀ / √S + bias) V.
 *
 * The query heads that share a key head (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245) are rows of one matrix,
 * f32[B, G, H/G · T, S]: keys and values are not repeated.
 *
 * @param query  f32[B·T, H·S]: the heads side by side
 * @param key, value  f32[B·T, G·S]
 * @returns  f32[B·T, H·S]: the heads' results side by side, before the output projection
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
  const { batch, tokens, heads, keyHeads = heads, bias, site, prepare = (x) => x } = options;
  const headSize = (query.shape[1] as number) / heads;
  const split = (y: Tensor, count: number) =>
    transpose(reshape(y, [batch, tokens, count, headSize]), [0, 2, 1, 3]);
  const rows = multiplyDims(heads / keyHeads, tokens);
  const q = reshape(prepare(split(query, heads), 'query'), [batch, keyHeads, rows, headSize]);
  const k = prepare(split(key, keyHeads), 'key');
  const perText = [heads, tokens, tokens];
  const scores = reshape(matmul(q, k, { transB: true, alpha: 1 / Math.sqrt(headSize) }), [batch, ...perText]);
  const weights = dropout(softmax(add(scores, bias)), options.dropout, { site, perText });
  const mixed = matmul(reshape(weights, [batch, keyHeads, rows, tokens]), split(value, keyHeads));
  const context = transpose(reshape(mixed, [batch, heads, tokens, headSize]), [0, 2, 1, 3]);
  return reshape(context, [multiplyDims(batch, tokens), heads * headSize]);
}
