import { addDims, type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import {
  abs,
  add,
  cast,
  concat,
  greater,
  matmul,
  mul,
  range,
  reshape,
  slice,
  softmax,
  split,
  sub,
  transpose,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type Dropout, dropout } from './layers.ts';

/** Number added to the score of a pair of tokens that must not attend to each other. */
export const UNSEEN = -1e9;

/**
 * Additive attention mask from a padding mask: 0 for tokens, −1e9 for padding.
 *
 * @param mask f32[B, T]: 1 for tokens, 0 for padding
 * @returns f32[B, 1, 1, T]
 */
export function attentionBias(mask: Tensor): Tensor {
  return unsqueeze(unsqueeze(mul(sub(1, mask), UNSEEN), 1), 1);
}

/**
 * Additive attention mask of a mask for each pair of tokens: 0 for allowed pairs, −1e9 for others.
 *
 * @param mask f32[B, T, K]: 1 for pairs of which the first token attends to the second, else 0
 * @returns f32[B, 1, T, K]
 */
export const attentionBiasOfPairs = (mask: Tensor): Tensor => unsqueeze(mul(sub(1, mask), UNSEEN), 1);

/**
 * Additive causal mask: a token attends to itself and the tokens before it.
 *
 * @param past  number of keys before those of the tokens, P, to which every token attends. Default 0
 * @returns f32[1, 1, T, P + T]: 0 for allowed pairs, −1e9 for others
 */
export const causalBias = (graph: Graph, tokens: Dim, past: Dim = 0): Tensor =>
  unsqueeze(unsqueeze(mul(cast(greater(distances(graph, tokens, past), 0), 'f32'), UNSEEN), 0), 0);

/**
 * Additive local mask: a token attends to tokens at most `reach` positions away, on either side.
 *
 * @returns f32[1, 1, T, T]: 0 for allowed pairs, −1e9 for others
 */
export const localBias = (graph: Graph, tokens: Dim, reach: number): Tensor =>
  unsqueeze(unsqueeze(mul(cast(greater(abs(distances(graph, tokens)), reach), 'f32'), UNSEEN), 0), 0);

/** Position of the key minus position of the query, f32[T, P + T], where the queries are the last T of P + T places. */
function distances(graph: Graph, tokens: Dim, past: Dim = 0): Tensor {
  const keys = cast(range(graph, addDims(past, tokens)), 'f32');
  const queries = past === 0 ? keys : slice(keys, { axis: 0, start: past });
  return sub(unsqueeze(keys, 0), unsqueeze(queries, 1));
}

/** Keys and values of a layer for some tokens of each text. */
export interface KeyValues {
  /** f32[B, G, tokens, S]: keys as they enter the product with queries, with rotary positions applied. */
  readonly key: Tensor;
  /** f32[B, G, tokens, S] */
  readonly value: Tensor;
}

/** Options of `attention`. */
export interface AttentionOptions {
  /** Number of texts, B. The operands have B and T only as a product. */
  batch: Dim;
  /** Number of tokens per text, padding included, T. */
  tokens: Dim;
  /** Number of keys per text, K, where keys and values are not those of the same tokens. Default T. */
  keyTokens?: Dim;
  /** Number of query heads, H. */
  heads: number;
  /** Number of key and value heads, G. Each serves H/G consecutive query heads. Default H. */
  keyHeads?: number;
  /**
   * Additive mask of the scores: f32 that broadcasts to [B, H, T, K], such as `attentionBias`. With `attended`, K is the number of all
   * keys that it returns.
   */
  bias: Tensor;
  /**
   * Transforms the heads of queries, f32[B, H, T, S], and of keys, f32[B, G, K, S], before their product: rotary
   * positions, a norm. Default: none.
   */
  prepare?: (heads: Tensor, of: 'query' | 'key') => Tensor;
  /**
   * Receives keys and values of the tokens, and returns those that the queries attend to, in one or several pieces along the
   * axis of tokens. Default: those of the tokens alone. A cache of earlier tokens enters here.
   */
  attended?: ((own: KeyValues) => readonly KeyValues[]) | undefined;
  /** Factor of the products of queries and keys. Default 1/√S. */
  scale?: number | undefined;
  /** Called with the probabilities, before dropout. */
  onProbabilities?: ((probabilities: Tensor) => void) | undefined;
  /** Name of the place in the encoder, which seeds the dropout of attention weights. */
  site: string;
  /** Dropout of attention weights. Default: none. */
  dropout?: Dropout | undefined;
}

/**
 * Multi-head attention with H heads of size S: softmax(scale · Q Kᵀ + bias) V, with the scale 1/√S unless another is given.
 *
 * Query heads that share a key head (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245) are rows
 * of one matrix, f32[B, G, H/G · T, S], so keys and values are not repeated.
 *
 * @param query f32[B·T, H·S], head after head
 * @param key f32[B·K, G·S]
 * @param value f32[B·K, G·S]
 * @returns f32[B·T, H·S]: results of the heads, head after head, before the output projection
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
  const { batch, tokens, keyTokens = tokens, heads, keyHeads = heads, prepare = (x) => x } = options;
  const queries = prepare(splitHeads(query, [batch, tokens], heads), 'query');
  const own = {
    key: prepare(splitHeads(key, [batch, keyTokens], keyHeads), 'key'),
    value: splitHeads(value, [batch, keyTokens], keyHeads),
  };
  return attendTo(queries, options.attended?.(own) ?? [own], options);
}

/**
 * Splits vectors into heads: f32[B·T, H·S] → f32[B, H, T, S].
 *
 * @param place B and T
 */
export function splitHeads(x: Tensor, [batch, tokens]: readonly [Dim, Dim], heads: number): Tensor {
  const headSize = (x.shape[1] as number) / heads;
  return transpose(reshape(x, [batch, tokens, heads, headSize]), [0, 2, 1, 3]);
}

/**
 * Multi-head attention of `attention` to keys and values that are split into heads already. The gradient computes the scores again rather
 * than keep them: B · H · T · K numbers for each layer.
 *
 * @param queries f32[B, H, T, S]
 * @param pieces keys and values f32[B, G, …, S], in one or several pieces along the axis of tokens
 * @returns f32[B·T, H·S]
 */
export function attendTo(
  queries: Tensor,
  pieces: readonly KeyValues[],
  options: Pick<
    AttentionOptions,
    'batch' | 'tokens' | 'heads' | 'keyHeads' | 'bias' | 'scale' | 'onProbabilities' | 'site' | 'dropout'
  >,
): Tensor {
  return queries.graph.recomputed(() => {
    const { batch, tokens, heads, keyHeads = heads, bias, site } = options;
    const headSize = queries.shape[3] as number;
    const { scale = 1 / Math.sqrt(headSize) } = options;
    const rows = multiplyDims(heads / keyHeads, tokens);
    const q = reshape(queries, [batch, keyHeads, rows, headSize]);
    // Scores of the pieces are joined rather than the pieces themselves, so that no cache is copied.
    const lengths = pieces.map(({ key }) => key.shape[2]!);
    const keys = addDims(...lengths);
    const products = pieces.map(({ key }) => matmul(q, key, { transB: true, alpha: scale }));
    const perText = [heads, tokens, keys];
    const scores = reshape(concat(products, -1), [batch, ...perText]);
    const probabilities = softmax(add(scores, bias));
    options.onProbabilities?.(probabilities);
    const weights = dropout(probabilities, options.dropout, { site, perText });
    const shares = reshape(weights, [batch, keyHeads, rows, keys]);
    const mixed = (pieces.length === 1 ? [shares] : split(shares, lengths, -1))
      .map((share, i) => matmul(share, pieces[i]!.value))
      .reduce((a, b) => add(a, b));
    const context = transpose(reshape(mixed, [batch, heads, tokens, headSize]), [0, 2, 1, 3]);
    return reshape(context, [multiplyDims(batch, tokens), heads * headSize]);
  });
}
