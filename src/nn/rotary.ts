import type { Dim } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { add, cast, concat, cos, mul, neg, range, reshape, sin, split } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** Scaling of the rotary frequencies, for models that read longer texts than they were first trained on. */
export type RopeScaling =
  | { readonly rope_type: 'linear'; readonly factor: number }
  | {
      readonly rope_type: 'llama3';
      readonly factor: number;
      readonly low_freq_factor: number;
      readonly high_freq_factor: number;
      readonly original_max_position_embeddings: number;
    };

/** Settings of rotary positions, by their names in Hugging Face's configurations. */
export interface RopeConfig {
  /** Base θ of the frequencies. */
  readonly rope_theta: number;
  /** Scaling of the frequencies; null for none. */
  readonly rope_scaling: RopeScaling | null;
}

/**
 * Computes the angles, in radians per token, by which the S/2 pairs of a head are rotated: ω_i = θ^(−2i/S),
 * scaled.
 *
 * `linear` divides all frequencies by the factor. `llama3` divides those with fewer than `low_freq_factor`
 * turns in a text of the original length, keeps those with more than `high_freq_factor` turns, and
 * interpolates in between.
 *
 * @param headSize S
 * @returns f32[S/2]; without scaling, every step is rounded as in PyTorch
 */
export function rotaryFrequencies(
  headSize: number,
  { rope_theta, rope_scaling }: RopeConfig,
): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: headSize / 2 }, (_, i) => {
    const plain = Math.fround(1 / Math.fround(rope_theta ** Math.fround((2 * i) / headSize)));
    if (rope_scaling === null) return plain;
    const { factor } = rope_scaling;
    if (rope_scaling.rope_type === 'linear') return plain / factor;
    const { low_freq_factor: low, high_freq_factor: high } = rope_scaling;
    const turns = (rope_scaling.original_max_position_embeddings * plain) / (2 * Math.PI);
    const kept = Math.min(Math.max((turns - low) / (high - low), 0), 1);
    return ((1 - kept) * plain) / factor + kept * plain;
  });
}

/** Cosines and signed sines of the angles of every token, computed once for all layers. */
export interface RotaryTables {
  /** f32[T, S] or f32[B, 1, T, S]: cos. */
  readonly cosines: Tensor;
  /** f32[T, S] or f32[B, 1, T, S]: −sin for the first half of a head, sin for the second half. */
  readonly sines: Tensor;
}

/**
 * Builds the tables for positions 0 … T − 1, or for positions of each text.
 *
 * @param tokens T
 * @param frequencies f32[S/2] (see `rotaryFrequencies`)
 * @param positions f32[B, T]: positions of the tokens. Default: their places
 * @returns tables [T, S], or [B, 1, T, S] for given positions
 */
export function rotaryTables(
  graph: Graph,
  tokens: Dim,
  frequencies: Float32Array<ArrayBuffer>,
  positions?: Tensor,
): RotaryTables {
  return graph.scope('rotary', () => {
    const column = positions
      ? reshape(positions, [positions.shape[0]!, 1, tokens, 1])
      : reshape(cast(range(graph, tokens), 'f32'), [tokens, 1]);
    const angles = mul(column, graph.constant('f32', [1, frequencies.length], frequencies));
    const [c, s] = [cos(angles), sin(angles)];
    return { cosines: concat([c, c], -1), sines: concat([neg(s), s], -1) };
  });
}

/**
 * Rotary position embedding: rotates the pairs of each head by angles that grow with the position.
 *
 * Products of queries and keys then depend on the distance of their positions only.
 *
 *     y_i = x_i cos tω_i − x_(i+S/2) sin tω_i,     y_(i+S/2) = x_(i+S/2) cos tω_i + x_i sin tω_i
 *
 * Paper: Su et al. 2021, arXiv:2104.09864. Differs: the pairs are elements i and i + S/2, as in Hugging
 * Face's code, not 2i and 2i + 1.
 *
 * @param x f32[…, T, S]: heads of queries or keys
 * @returns tensor of the same shape
 */
export function rotate(x: Tensor, { cosines, sines }: RotaryTables): Tensor {
  const half = (x.shape[x.rank - 1] as number) / 2;
  const [first, second] = split(x, [half, half], -1) as [Tensor, Tensor];
  return add(mul(x, cosines), mul(concat([second, first], -1), sines));
}
