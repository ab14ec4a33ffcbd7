import { type Dim, multiplyDims } from '../graph/dims.ts';
import { causalAttention, reshape, slice } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { RotaryTables } from './rotary.ts';

/** Plain causal attention for programs without gradients: rotary positions are the places in the row. */
export interface FusedAttention {
  /** Tables of rotary positions, f32[T, S]. Default: no rotation. */
  readonly tables?: RotaryTables | undefined;
  /** Norm of the heads of queries and keys, f32[…, S], before the rotation. Default: none. */
  readonly headNorm?: ((heads: Tensor, of: 'query' | 'key') => Tensor) | undefined;
}

/**
 * Multi-head causal attention of `attention`, in one kernel.
 *
 * @param operands query f32[B·T, H·S], key and value f32[B·T, G·S]
 * @returns f32[B·T, H·S]
 */
export function fusedAttention(
  [query, key, value]: readonly [query: Tensor, key: Tensor, value: Tensor],
  options: FusedAttention & { batch: Dim; tokens: Dim; heads: number; keyHeads: number },
): Tensor {
  const { batch, tokens, heads, keyHeads, tables, headNorm } = options;
  const width = query.shape[1] as number;
  const size = width / heads;
  const normed = (x: Tensor, count: number, of: 'query' | 'key') => {
    if (!headNorm) return x;
    const each = reshape(x, [multiplyDims(batch, tokens, count), size]);
    return reshape(headNorm(each, of), x.shape);
  };
  const inTexts = (x: Tensor) => reshape(x, [batch, tokens, x.shape[1]!]);
  const half = { axis: 1, length: size / 2 };
  const rotary = tables && {
    cosines: slice(tables.cosines, half),
    sines: slice(tables.sines, { ...half, start: size / 2 }),
  };
  const [q, k] = [normed(query, heads, 'query'), normed(key, keyHeads, 'key')];
  const made = causalAttention(inTexts(q), inTexts(k), inTexts(value), { heads, keyHeads, rotary });
  return reshape(made, [multiplyDims(batch, tokens), width]);
}
