import { ShapeError } from '../../util/errors.ts';
import { sameDim } from '../dims.ts';
import type { Tensor } from '../tensor.ts';
import { requireDType } from './broadcast.ts';

/** Options of `causalAttention`. */
export interface CausalAttentionOptions {
  /** Number of query heads, H. */
  heads: number;
  /** Number of key and value heads, G. Each serves H/G consecutive query heads. */
  keyHeads: number;
  /** Cosines and sines of rotary positions, f32[T, S/2] each. Default: no rotation. */
  rotary?: { cosines: Tensor; sines: Tensor } | undefined;
}

/**
 * Attention of each token to itself and the tokens before it, softmax(Q Kᵀ / √S) V, in one kernel of onnxruntime.
 *
 * There is no gradient: `attention` of `src/nn/attention.ts`
 * computes the same from operations that have one.
 *
 * @param query f32[B, T, H·S], head after head
 * @param key f32[B, T, G·S]
 * @param value f32[B, T, G·S]
 * @returns f32[B, T, H·S]
 * @throws ShapeError if shapes do not match
 */
export function causalAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { heads, keyHeads, rotary }: CausalAttentionOptions,
): Tensor {
  const tables = rotary ? [rotary.cosines, rotary.sines] : [];
  for (const each of [query, key, value, ...tables]) requireDType('causalAttention', each, 'f32');
  const size = (query.shape[2] as number) / heads;
  const fits =
    query.rank === 3 &&
    [key, value].every(
      ({ rank, shape }) =>
        rank === 3 &&
        [0, 1].every((axis) => sameDim(shape[axis]!, query.shape[axis]!)) &&
        shape[2] === keyHeads * size,
    ) &&
    tables.every(({ rank, shape }) => rank === 2 && shape[1] === size / 2) &&
    heads % keyHeads === 0;
  if (!fits) {
    throw new ShapeError(
      `causalAttention: ${[query, key, value, ...tables].map((each) => each.describe()).join(', ')} do not fit ${heads} heads over ${keyHeads}`,
    );
  }
  const inputs = [query, key, value, ...tables];
  const output = { dtype: query.dtype, shape: query.shape };
  return query.graph.add('CausalAttention', inputs, { heads, keyHeads }, [output])[0]!;
}
