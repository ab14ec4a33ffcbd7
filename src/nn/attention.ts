import { type Dim, multiplyDims } from '../graph/dims.ts';
import { add, matmul, mul, reshape, softmax, sub, transpose, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type Dropout, dropout } from './layers.ts';

/** Additive attention mask: 0 where a token is, a large negative number where padding is. f32[B, 1, 1, T] */
export function attentionBias(mask: Tensor): Tensor {
  return unsqueeze(unsqueeze(mul(sub(mask, 1), 1e9), 1), 1);
}

/** What attention needs to know beside its operands. */
export interface AttentionOptions {
  /** B and T, which the operands have only as a product. */
  batch: Dim;
  tokens: Dim;
  heads: number;
  /** Added to the scores: f32 that broadcasts to [B, H, T, T], such as `attentionBias`. */
  bias: Tensor;
  /** Name of the place, where attention weights are dropped. */
  site: string;
  dropout?: Dropout | undefined;
}

/**
 * Attention with H heads:  softmax(Q Kᵀ / √(D/H) + bias) V.
 *
 * @param query, key, value  f32[B·T, D]: the heads side by side
 * @returns  f32[B·T, D]: the heads' results side by side, before the output projection
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
  const { batch, tokens, heads, bias, site } = options;
  const hidden = query.shape[1] as number;
  const headSize = hidden / heads;
  const split = (y: Tensor) => transpose(reshape(y, [batch, tokens, heads, headSize]), [0, 2, 1, 3]);
  const scores = matmul(split(query), split(key), { transB: true, alpha: 1 / Math.sqrt(headSize) });
  const perText = [heads, tokens, tokens];
  const weights = dropout(softmax(add(scores, bias)), options.dropout, { site, perText });
  const context = transpose(matmul(weights, split(value)), [0, 2, 1, 3]);
  return reshape(context, [multiplyDims(batch, tokens), hidden]);
}
