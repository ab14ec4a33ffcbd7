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

/** Whether a layer adds `name.bias` (true). */
export interface BiasOption {
  bias?: boolean;
}

/**
 * y = x Wᵀ + b, with W = `name.weight` [outputs, inputs] and b = `name.bias`.
 * @param x  f32[…, inputs]
 * @returns  f32[…, outputs]
 */
export function linear(x: Tensor, p: Parameters, name: string, { bias = true }: BiasOption = {}): Tensor {
  const weight = p(`${name}.weight`);
  const flat = reshape(x, [multiplyDims(...x.shape.slice(0, -1)), x.shape[x.rank - 1]!]);
  const product = matmul(flat, weight, { transB: true });
  // Not gemm with a bias: onnxruntime writes the bias into the result beforehand, on one thread.
  const y = bias ? add(product, p(`${name}.bias`)) : product;
  return reshape(y, [...x.shape.slice(0, -1), weight.shape[0]!]);
}

/** Layer norm over the last axis with `name.weight` and `name.bias`. */
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

/** y = x / √(mean(x²) + ε) · scale over the last axis (RMS norm). */
export function rmsNorm(x: Tensor, scale: Tensor, epsilon: number): Tensor {
  const size = x.shape[x.rank - 1];
  if (typeof size !== 'number')
    throw new ShapeError(`rmsNorm: the last axis of ${x.describe()} must be known`);
  const meanSquare = mul(sum(square(x), { axes: -1, keepDims: true }), 1 / size);
  return mul(div(x, sqrt(add(meanSquare, epsilon))), scale);
}

/** Rate and run-time keys of dropout. */
export interface Dropout {
  /** Share of elements set to zero, in [0, 1). */
  rateRatio: number;
  /** u32[B]: one random word for each text and step. */
  keys: Tensor;
}

/** Odd multipliers that tell the axes of a text's elements apart. */
const AXIS_FACTORS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d];

/**
 * Inverted dropout: each element is 0 with probability `rateRatio`, else divided by 1 − rateRatio.
 *
 * The mask is a hash of (text key, site, position within the text), and so does not depend on which other texts are in the batch
 * or how far they are padded. A step can be replayed in other pieces, as gradient caching does, and a resumed run draws what
 * the uninterrupted one drew. (onnxruntime's own random operators advance with every run.)
 *
 * @param x  f32 of B texts: any shape of B · Π perText elements
 * @param place.site  name of the place in the encoder; different places draw independently
 * @param place.perText  at most three dimensions of one text's elements
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
  // Chris Wellons' low-bias 32-bit mixer, twice with the site between, so that sites do not overlap.
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
 * How a text's token vectors become one vector, under the names that sentence-transformers has for it: their mean; the first; the last;
 * the largest element by element; the mean weighted with 1, 2, 3, …; their sum over the root of their number.
 */
export const POOLINGS = ['mean', 'cls', 'lasttoken', 'max', 'weightedmean', 'mean_sqrt_len_tokens'] as const;

export type Pooling = (typeof POOLINGS)[number];

/**
 * A text without tokens gets the zero vector, except by `cls`.
 *
 * @param hidden  f32[B, T, D]
 * @param mask  f32[B, T]: 1 for tokens, 0 for padding, which stands at the end
 * @returns  f32[B, D]
 */
export function pool(hidden: Tensor, mask: Tensor, pooling: Pooling): Tensor {
  const { graph } = hidden;
  const places = () => unsqueeze(cast(range(graph, mask.shape[1]!), 'f32'), 0);
  // Σ_t w_t h_t as a product [B, 1, T]·[B, T, D]: one pass over the hidden states, forward and backward.
  const total = (weights: Tensor) => squeeze(matmul(unsqueeze(weights, 1), hidden), 1);
  const count = (weights: Tensor) => maximum(sum(weights, { axes: 1, keepDims: true }), 1e-9);
  switch (pooling) {
    case 'mean':
      return div(total(mask), count(mask));
    case 'cls':
      return squeeze(slice(hidden, { axis: 1, start: 0, length: 1 }), 1);
    case 'lasttoken': {
      const last = sub(sum(mask, { axes: 1, keepDims: true }), 1);
      return total(cast(equal(places(), last), 'f32'));
    }
    case 'max': {
      const tokens = greater(unsqueeze(mask, 2), 0);
      const largest = max(where(tokens, hidden, LOWEST), { axes: 1 });
      return where(greater(sum(mask, { axes: 1, keepDims: true }), 0), largest, 0);
    }
    case 'weightedmean': {
      const weights = mul(mask, add(places(), 1));
      return div(total(weights), count(weights));
    }
    case 'mean_sqrt_len_tokens':
      return div(total(mask), sqrt(count(mask)));
  }
}

/** Below every hidden state. */
const LOWEST = -3e38;

/** Rows of length one:  x / max(‖x‖, ε). */
export function normalize(x: Tensor, epsilon = 1e-12): Tensor {
  const squared = sum(square(x), { axes: -1, keepDims: true });
  return div(x, sqrt(maximum(squared, epsilon * epsilon)));
}
