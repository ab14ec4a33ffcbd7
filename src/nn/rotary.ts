import type { Dim } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { add, cast, concat, cos, mul, neg, range, reshape, sin, split } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** How frequencies are changed so that a model reads longer texts than it was trained on at first. */
export type RopeScaling =
  | { readonly rope_type: 'linear'; readonly factor: number }
  | {
      readonly rope_type: 'llama3';
      readonly factor: number;
      readonly low_freq_factor: number;
      readonly high_freq_factor: number;
      readonly original_max_position_embeddings: number;
    };

/** What rotary positions depend on, under Hugging Face's names. */
export interface RopeConfig {
  readonly rope_theta: number;
  readonly rope_scaling: RopeScaling | null;
}

/**
 * Angle by which each of the S/2 pairs of a head turns from one token to the next:  ω_i = θ^(−2i/S), scaled.
 *
 * `linear` divides all by the factor. `llama3` divides those that turn less than `low_freq_factor` times in a text of the original
 * length, leaves those that turn more than `high_freq_factor` times, and goes from one to the other in between.
 *
 * @returns  f32[S/2], each step rounded as PyTorch rounds it
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

/** Cosines and signed sines of every token's angles, f32[T, S]: made once, used by all layers. */
export interface RotaryTables {
  readonly cosines: Tensor;
  /** −sin for the first half of a head, sin for the second. */
  readonly sines: Tensor;
}

/** The tables for positions 0 … T − 1. @param frequencies  f32[S/2] (see `rotaryFrequencies`) */
export function rotaryTables(
  graph: Graph,
  tokens: Dim,
  frequencies: Float32Array<ArrayBuffer>,
): RotaryTables {
  return graph.scope('rotary', () => {
    const positions = reshape(cast(range(graph, tokens), 'f32'), [tokens, 1]);
    const angles = mul(positions, graph.constant('f32', [1, frequencies.length], frequencies));
    const [c, s] = [cos(angles), sin(angles)];
    return { cosines: concat([c, c], 1), sines: concat([neg(s), s], 1) };
  });
}

/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864): turns the pairs of each head by angles that grow with the position, so
 * that products of queries and keys depend on distances alone.
 *
 *     y_i = x_i cos tω_i − x_(i+S/2) sin tω_i,     y_(i+S/2) = x_(i+S/2) cos tω_i + x_i sin tω_i
 *
 * Differs: pairs are elements i and i + S/2, as Hugging Face has them, not 2i and 2i + 1.
 *
 * @param x  f32[…, T, S]: heads of queries or keys
 * @returns  the same shape
 */
export function rotate(x: Tensor, { cosines, sines }: RotaryTables): Tensor {
  const half = (x.shape[x.rank - 1] as number) / 2;
  const [first, second] = split(x, [half, half], -1) as [Tensor, Tensor];
  return add(mul(x, cosines), mul(concat([second, first], -1), sines));
}
