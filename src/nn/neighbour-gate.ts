import { type Dim, multiplyDims, subtractDims } from '../graph/dims.ts';
import {
  add,
  cast,
  concat,
  equal,
  fill,
  greaterOrEqual,
  maximum,
  mul,
  range,
  reshape,
  sigmoid,
  slice,
  sum,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { attention, attentionBiasOfPairs } from './attention.ts';
import {
  type CrossAttentionSizes,
  crossAttentionParameters,
  NEIGHBOUR_NORM_EPSILON,
} from './chunked-cross-attention.ts';
import { linear, rmsNorm } from './layers.ts';
import { layerNormParameters, type ParameterSpec, type Parameters } from './parameters.ts';

/**
 * Declares the parameters of `neighbourGates`: `name.norm.weight` [D], `name.attn.{q,k,v,o}_proj.weight`, and the vector `name.weight` [D],
 * which begins as 0, so that all gates begin as 1/2.
 */
export const neighbourGateParameters = (
  name: string,
  sizes: Omit<CrossAttentionSizes, 'states'>,
): ParameterSpec[] => [
  ...layerNormParameters(`${name}.norm`, sizes.hidden, { bias: false }),
  ...crossAttentionParameters(`${name}.attn`, { ...sizes, states: sizes.hidden }),
  { name: `${name}.weight`, shape: [sizes.hidden], init: { kind: 'constant', value: 0 }, decay: false },
];

/** Neighbours whose gates are computed, and those before them. */
export interface GatedNeighbours {
  /** Means of the states of each neighbour, f32[C, K, D], best neighbour first. */
  readonly pooled: Tensor;
  /** f32[C, K]: 1 for neighbours, 0 for absent ones. */
  readonly valid: Tensor;
  /** f32[C, N]: 1 where the chunk of the column comes before that of the row in its text. The last C of the N chunks are those of the rows. */
  readonly earlier: Tensor;
  /** Neighbours of the N − C chunks before: means f32[N − C, K, D], and f32[N − C, K]. Default: there are none. */
  readonly past?: { readonly pooled: Tensor; readonly valid: Tensor } | undefined;
}

/**
 * Computes a gate for each neighbour, by which its states are multiplied:
 *
 *     ĉ = c + attention(norm(c));   g = max(η, σ(w · ĉ / D))
 *
 * with c the mean of the neighbour's states. The attention has no positions. A neighbour attends to itself, to better neighbours of its chunk,
 * and to the neighbours of earlier chunks of its text.
 *
 * @param options.floor smallest gate η
 * @returns f32[C, K], from η to 1
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421
 */
export function neighbourGates(
  { pooled, valid, earlier, past }: GatedNeighbours,
  p: Parameters,
  name: string,
  { heads, floor }: { readonly heads: number; readonly floor: number },
): Tensor {
  const { graph } = pooled;
  const [chunks, k, size] = pooled.shape as [Dim, number, number];
  const known = earlier.shape[1]!;
  return graph.scope(name, () => {
    const norm = (x: Tensor) => rmsNorm(x, p(`${name}.norm.weight`), NEIGHBOUR_NORM_EPSILON);
    const all = past ? concat([past.pooled, pooled], 0) : pooled;
    const isThere = past ? concat([past.valid, valid], 0) : valid;
    const own = reshape(pooled, [multiplyDims(chunks, k), size]);
    const read = norm(reshape(all, [multiplyDims(known, k), size]));
    const query = linear(norm(own), p, `${name}.attn.q_proj`, { bias: false });
    const [key, value] = ['k', 'v'].map((part) =>
      linear(read, p, `${name}.attn.${part}_proj`, { bias: false }),
    );
    const mixed = attention(query, key!, value!, {
      ...{ batch: 1, tokens: multiplyDims(chunks, k), keyTokens: multiplyDims(known, k), heads },
      bias: attentionBiasOfPairs(unsqueeze(seenPairs(earlier, isThere, [chunks, k]), 0)),
      site: name,
    });
    const seen = add(own, linear(mixed, p, `${name}.attn.o_proj`, { bias: false }));
    const logits = mul(sum(mul(seen, p(`${name}.weight`)), { axes: 1 }), 1 / size);
    return maximum(reshape(sigmoid(logits), [chunks, k]), floor);
  });
}

/** Pairs of neighbours of which the first attends to the second, f32[C·K, N·K]. */
function seenPairs(earlier: Tensor, isThere: Tensor, [chunks, k]: readonly [Dim, number]): Tensor {
  const { graph } = earlier;
  const known = earlier.shape[1]!;
  const columns = range(graph, known);
  const own = slice(columns, { axis: 0, start: subtractDims(known, chunks), length: chunks });
  const same = cast(equal(unsqueeze(own, 1), unsqueeze(columns, 0)), 'f32');
  const ranks = range(graph, k);
  const better = cast(greaterOrEqual(unsqueeze(ranks, 1), unsqueeze(ranks, 0)), 'f32');
  const itself = cast(equal(unsqueeze(ranks, 1), unsqueeze(ranks, 0)), 'f32');
  // [C, K, N, K]
  const inRow = (x: Tensor) => unsqueeze(unsqueeze(x, 1), 3);
  const inRank = (x: Tensor) => unsqueeze(unsqueeze(x, 1), 0);
  const ones = fill(graph, 1, [1, k, 1, k]);
  const before = add(mul(inRow(earlier), ones), mul(inRow(same), inRank(better)));
  const there = mul(before, unsqueeze(unsqueeze(isThere, 0), 0));
  // An absent neighbour attends to itself, so that its row is not empty.
  const pairs = maximum(there, mul(inRow(same), inRank(itself)));
  return reshape(pairs, [multiplyDims(chunks, k), multiplyDims(known, k)]);
}
