import { type Dim, multiplyDims } from '../graph/dims.ts';
import {
  add,
  bitwiseXor,
  cast,
  div,
  equal,
  fill,
  greater,
  greaterOrEqual,
  layerNorm as layerNormOp,
  matmul,
  max,
  maximum,
  mul,
  range,
  reshape,
  shiftRight,
  slice,
  sqrt,
  square,
  squeeze,
  sub,
  sum,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { ShapeError } from '../util/errors.ts';
import { rngKey } from '../util/rng.ts';
import type { Parameters } from './parameters.ts';

/** Option of layers with a bias. */
export interface BiasOption {
  /** Whether the layer adds the parameter `name.bias`. Default true. */
  bias?: boolean;
}

/**
 * Linear layer y = x Wᵀ + b with W = `name.weight` [outputs, inputs] and b = `name.bias` [outputs].
 *
 * @param x f32[…, inputs]
 * @returns f32[…, outputs]
 */
export function linear(x: Tensor, p: Parameters, name: string, { bias = true }: BiasOption = {}): Tensor {
  const weight = p(`${name}.weight`);
  const flat = reshape(x, [multiplyDims(...x.shape.slice(0, -1)), x.shape[x.rank - 1]!]);
  const product = matmul(flat, weight, { transB: true });
  // A gemm with a bias is slower: onnxruntime writes the bias into the result beforehand, on one thread.
  const y = bias ? add(product, p(`${name}.bias`)) : product;
  return reshape(y, [...x.shape.slice(0, -1), weight.shape[0]!]);
}

/**
 * Layer norm over the last axis, with the parameters `name.weight` and `name.bias`.
 *
 * @param x f32[…, D]
 * @returns f32[…, D]
 */
export function layerNorm(
  x: Tensor,
  p: Parameters,
  name: string,
  epsilon: number,
  { bias = true }: BiasOption = {},
): Tensor {
  const scale = p(`${name}.weight`);
  const shift = bias ? p(`${name}.bias`) : fill(x.graph, 0, scale.shape);
  return layerNormOp(x, { scale, bias: shift }, { epsilon });
}

/**
 * RMS norm over the last axis: y = x / √(mean(x²) + ε) · scale.
 *
 * @param x f32[…, D], with D known
 * @param scale f32[D]
 * @returns f32[…, D]
 * @throws ShapeError if the last axis has a named size.
 */
export function rmsNorm(x: Tensor, scale: Tensor, epsilon: number): Tensor {
  const size = x.shape[x.rank - 1];
  if (typeof size !== 'number')
    throw new ShapeError(`rmsNorm: the last axis of ${x.describe()} must be known`);
  const meanSquare = mul(sum(square(x), { axes: -1, keepDims: true }), 1 / size);
  return mul(div(x, sqrt(add(meanSquare, epsilon))), scale);
}

/** Rate and random keys of dropout. */
export interface Dropout {
  /** Probability with which an element is set to zero, in [0, 1). */
  rateRatio: number;
  /** u32[B]: one random word per text and step. */
  keys: Tensor;
}

/** Odd multipliers that distinguish the axes of a text's elements. */
const AXIS_FACTORS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d];

/**
 * Inverted dropout: each element is 0 with probability `rateRatio`, and otherwise divided by 1 − rateRatio.
 *
 * The mask is a hash of (key of the text, site, position within the text). It therefore does not depend on
 * the other texts of the batch, nor on the amount of padding. A step can be replayed in smaller pieces, as
 * gradient caching does, and a resumed run draws the same masks as an uninterrupted one. (The random
 * operators of onnxruntime advance with every run.)
 *
 * @param x f32 of B texts: any shape of B · Π perText elements
 * @param options rate and keys; undefined for no dropout
 * @param place.site name of the place in the encoder; different places draw independently
 * @param place.perText dimensions of one text's elements, at most three
 * @returns tensor with the shape of x
 */
export function dropout(
  x: Tensor,
  options: Dropout | undefined,
  place: { site: string; perText: readonly Dim[] },
): Tensor {
  if (!options || options.rateRatio === 0) return x;
  const { graph } = x;
  const u32 = (value: number) => graph.scalar(value >>> 0, 'u32');
  const site = rngKey(0, 0, `dropout/${place.site}`).purpose;
  const { perText } = place;
  const ones = perText.map(() => 1);
  let bits = reshape(bitwiseXor(options.keys, u32(site)), [options.keys.shape[0]!, ...ones]);
  for (const [axis, dim] of perText.entries()) {
    const steps = mul(cast(range(graph, dim), 'u32'), u32(AXIS_FACTORS[axis]!));
    const shape: Dim[] = [1, ...ones];
    shape[axis + 1] = dim;
    bits = add(bits, reshape(steps, shape));
  }
  // Chris Wellons' low-bias 32-bit mixer, applied twice with the site in between, so that the masks of
  // different sites are unrelated.
  for (const word of [Math.imul(site, 0x9e3779b9), 0]) {
    bits = mul(bitwiseXor(bits, shiftRight(bits, u32(16))), u32(0x7feb352d));
    bits = mul(bitwiseXor(bits, shiftRight(bits, u32(15))), u32(0x846ca68b));
    bits = bitwiseXor(bitwiseXor(bits, shiftRight(bits, u32(16))), u32(word));
  }
  const threshold = u32(Math.round(options.rateRatio * 2 ** 32));
  const keep = mul(cast(greaterOrEqual(bits, threshold), 'f32'), 1 / (1 - options.rateRatio));
  return mul(x, reshape(keep, x.shape));
}

/**
 * Names of the poolings of token vectors to one vector per text, as in sentence-transformers:
 *
 * - `mean`: mean of all tokens
 * - `cls`: first token
 * - `lasttoken`: last token
 * - `max`: largest value in each dimension
 * - `weightedmean`: mean weighted with 1, 2, 3, … by position
 * - `mean_sqrt_len_tokens`: sum divided by the square root of the number of tokens
 */
export const POOLINGS = ['mean', 'cls', 'lasttoken', 'max', 'weightedmean', 'mean_sqrt_len_tokens'] as const;

/** Name of a pooling. */
export type Pooling = (typeof POOLINGS)[number];

/**
 * Pools the token vectors of each text to one vector.
 *
 * A text without tokens gets the zero vector, except with `cls`, which then takes the first token.
 *
 * @param hidden f32[B, T, D]
 * @param mask f32[B, T]: 1 for tokens, 0 for padding at the end
 * @param options.skipped number of tokens at the beginning that are not pooled, such as those of a prompt: one for
 *   all texts, or i64[B]. The weights of `weightedmean` count them all the same. Default 0
 * @returns f32[B, D]
 */
export function pool(
  hidden: Tensor,
  mask: Tensor,
  pooling: Pooling,
  { skipped = 0 }: { skipped?: number | Tensor } = {},
): Tensor {
  const { graph } = hidden;
  const places = () => unsqueeze(cast(range(graph, mask.shape[1]!), 'f32'), 0);
  const first = typeof skipped === 'number' ? skipped : unsqueeze(cast(skipped, 'f32'), 1);
  const pooled = first === 0 ? mask : mul(mask, cast(greaterOrEqual(places(), first), 'f32'));
  // Σ_t w_t h_t as a matrix product [B, 1, T]·[B, T, D] takes one pass over the hidden states, forward and
  // backward.
  const total = (weights: Tensor) => squeeze(matmul(unsqueeze(weights, 1), hidden), 1);
  const count = (weights: Tensor) => maximum(sum(weights, { axes: 1, keepDims: true }), 1e-9);
  switch (pooling) {
    case 'mean':
      return div(total(pooled), count(pooled));
    case 'cls': {
      if (first === 0) return squeeze(slice(hidden, { axis: 1, start: 0, length: 1 }), 1);
      const any = greater(sum(pooled, { axes: 1, keepDims: true }), 0);
      return total(cast(equal(places(), where(any, first, 0)), 'f32'));
    }
    case 'lasttoken': {
      const last = sub(sum(mask, { axes: 1, keepDims: true }), 1);
      const chosen = cast(equal(places(), last), 'f32');
      return total(first === 0 ? chosen : mul(chosen, pooled));
    }
    case 'max': {
      const tokens = greater(unsqueeze(pooled, 2), 0);
      const largest = max(where(tokens, hidden, LOWEST), { axes: 1 });
      return where(greater(sum(pooled, { axes: 1, keepDims: true }), 0), largest, 0);
    }
    case 'weightedmean': {
      const weights = mul(pooled, add(places(), 1));
      return div(total(weights), count(weights));
    }
    case 'mean_sqrt_len_tokens':
      return div(total(pooled), sqrt(count(pooled)));
  }
}

/** Value below every hidden state. */
const LOWEST = -3e38;

/**
 * Normalises rows to length one: x / max(‖x‖, ε).
 *
 * @param x f32[…, D]
 * @returns f32[…, D]
 */
export function normalize(x: Tensor, epsilon = 1e-12): Tensor {
  const squared = sum(square(x), { axes: -1, keepDims: true });
  return div(x, sqrt(maximum(squared, epsilon * epsilon)));
}

/**
 * Truncates rows to their first dimensions: float[…, D] → float[…, dimensions]. Rows that have no more are
 * returned unchanged.
 */
export function truncate(x: Tensor, dimensions: number): Tensor {
  const axis = x.rank - 1;
  return x.shape[axis] === dimensions ? x : slice(x, { axis, length: dimensions });
}
