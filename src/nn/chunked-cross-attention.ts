import { addDims, type Dim, multiplyDims, subtractDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { add, concat, expand, fill, max, mul, reshape, slice, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { attention, attentionBias } from './attention.ts';
import { linear, rmsNorm } from './layers.ts';
import { layerNormParameters, linearParameters, type ParameterSpec, type Parameters } from './parameters.ts';
import { type RotaryTables, rotaryFrequencies, rotaryTables, rotate } from './rotary.ts';

/** Neighbours of the chunks of each text, encoded: l chunks, k neighbours for each, r tokens in each. */
export interface ChunkNeighbours {
  /** States of the tokens of the neighbours, f32[B, l, k, r, E]. */
  readonly states: Tensor;
  /** Mask, f32[B, l, k, r]: 1 for tokens, 0 for padding and for neighbours that are absent. */
  readonly mask: Tensor;
}

/** Sizes of an attention from the tokens of one sequence to those of another. */
export interface CrossAttentionSizes {
  /** Width D of the states that ask. */
  readonly hidden: number;
  /** Width E of the states that are read. */
  readonly states: number;
  /** Number of heads H. */
  readonly heads: number;
  /** Size S of a head, even. */
  readonly headSize: number;
}

/** Options of layers that read neighbours. */
export interface NeighbourLayerOptions {
  /** Tokens of a chunk, m. */
  readonly chunkTokens: number;
  /** Number of heads H. */
  readonly heads: number;
}

/** ε of the RMS norms of layers that read neighbours. */
export const NEIGHBOUR_NORM_EPSILON = 1e-5;

/**
 * Declares the parameters of `chunkedCrossAttention`:
 *
 * - `name.norm.weight` [D]: RMS norm before the queries
 * - `name.q_proj.weight` [H·S, D], `name.k_proj.weight` and `name.v_proj.weight` [H·S, E]
 * - `name.null_key`, `name.null_value` [H·S]: a key and a value that every token may read instead of a neighbour. Both begin as 0
 * - `name.o_proj.weight` [D, H·S]: output map. It begins as 0, so that a layer added to a trained model at first changes nothing
 */
export function chunkedCrossAttentionParameters(name: string, sizes: CrossAttentionSizes): ParameterSpec[] {
  const width = sizes.heads * sizes.headSize;
  return [
    ...layerNormParameters(`${name}.norm`, sizes.hidden, { bias: false }),
    ...crossAttentionParameters(name, sizes),
    ...['null_key', 'null_value'].map((part) => ({
      name: `${name}.${part}`,
      shape: [width],
      init: { kind: 'constant', value: 0 } as const,
      decay: false,
    })),
  ].map((spec) =>
    spec.name === `${name}.o_proj.weight` ? { ...spec, init: { kind: 'constant', value: 0 } as const } : spec,
  );
}

/** Declares the four matrices of an attention without biases: `name.q_proj.weight`, `k_proj`, `v_proj` and `o_proj`. */
export function crossAttentionParameters(
  name: string,
  { hidden, states, heads, headSize }: CrossAttentionSizes,
): ParameterSpec[] {
  const width = heads * headSize;
  return [
    ...linearParameters(`${name}.q_proj`, hidden, width, { bias: false }),
    ...linearParameters(`${name}.k_proj`, states, width, { bias: false }),
    ...linearParameters(`${name}.v_proj`, states, width, { bias: false }),
    ...linearParameters(`${name}.o_proj`, width, hidden, { bias: false }),
  ];
}

/**
 * Chunked cross-attention: each token reads the neighbours of the last chunk that was complete when the token was read.
 *
 * Chunk u (from 0) has the tokens u·m … (u + 1)·m − 1. Its neighbours are known once its last token is read, so the token t reads the
 * neighbours of chunk ⌊(t − (m − 1)) / m⌋, and the first m − 1 tokens read nothing:
 *
 *     read(t) = W_o softmax(q_t [K_u; null_key]ᵀ / √S) [V_u; null_value],     q = W_q norm(h),  K = W_k E,  V = W_v E
 *
 * with one softmax over all k·r tokens of the neighbours and the null key. Rotary positions give the i-th token of those that read the
 * chunk the position i + m − 1, and the token i′ of a neighbour the position i′: the distance d = i − i′ + m − 1 takes the chunk and its
 * neighbours as aligned. The null key has position 0. A chunk all of whose neighbours are masked is read as exactly 0.
 *
 * Paper: Borgeaud et al. 2022, arXiv:2112.04426. Differs: the null key (as in RETRO-pytorch), and rotary positions in place of learned
 * logits of distances.
 *
 * @param hidden residual stream, f32[B, T, D]. T ≥ m
 * @param neighbours neighbours of the l = ⌊T / m⌋ complete chunks; more chunks are allowed, and nothing reads them
 * @returns f32[B, T, D], to add to the residual stream
 */
export function chunkedCrossAttention(
  hidden: Tensor,
  { states, mask }: ChunkNeighbours,
  p: Parameters,
  name: string,
  { chunkTokens, heads }: NeighbourLayerOptions,
): Tensor {
  const { graph } = hidden;
  const [batch, tokens, size] = hidden.shape as [Dim, Dim, number];
  const chunks = states.shape[1] as Dim;
  const delay = chunkTokens - 1;

  return graph.scope(name, () => {
    const x = rmsNorm(hidden, p(`${name}.norm.weight`), NEIGHBOUR_NORM_EPSILON);
    const places = multiplyDims(chunks, chunkTokens);
    const behind = fill(graph, 0, [batch, addDims(subtractDims(places, tokens), delay), size]);
    const asking = concat([slice(x, { axis: 1, start: delay }), behind], 1);
    const rows = reshape(asking, [multiplyDims(batch, places), size]);
    const read = readByRows(rows, { states, mask }, p, name, {
      heads,
      tokens: chunkTokens,
      turning: (frequencies) =>
        mapTables(rotaryTables(graph, 2 * chunkTokens - 1, frequencies), (table) =>
          slice(table, { axis: 0, start: delay }),
        ),
    });
    const kept = reshape(read, [batch, places, size]);
    const delayed = concat([fill(graph, 0, [batch, delay, size]), kept], 1);
    return slice(delayed, { axis: 1, length: tokens });
  });
}

/**
 * Cross-attention of some of the tokens that read one chunk, for texts that are read piece by piece: `chunkedCrossAttention` of these
 * tokens.
 *
 * @param hidden residual stream of the tokens, f32[B, T, D]
 * @param neighbours encoded neighbours of the chunk that the tokens of each text read, l = 1
 * @param places f32[B, T]: places of the tokens among those that read the chunk, from 0
 * @returns f32[B, T, D], to add to the residual stream
 */
export function pieceCrossAttention(
  hidden: Tensor,
  neighbours: ChunkNeighbours,
  places: Tensor,
  p: Parameters,
  name: string,
  { chunkTokens, heads }: NeighbourLayerOptions,
): Tensor {
  const { graph } = hidden;
  const [batch, tokens, size] = hidden.shape as [Dim, Dim, number];
  return graph.scope(name, () => {
    const x = rmsNorm(hidden, p(`${name}.norm.weight`), NEIGHBOUR_NORM_EPSILON);
    const positions = add(places, fill(graph, chunkTokens - 1, [1, 1]));
    const read = readByRows(reshape(x, [multiplyDims(batch, tokens), size]), neighbours, p, name, {
      ...{ heads, tokens },
      turning: (frequencies) => rotaryTables(graph, tokens, frequencies, positions),
    });
    return reshape(read, [batch, tokens, size]);
  });
}

/**
 * Attends from the tokens that read each chunk to its neighbours.
 *
 * @param rows states of the tokens after the norm, f32[B·l·T, D]
 * @param options.tokens number of tokens T that read each chunk
 * @param options.turning makes the rotary tables of these tokens
 * @returns f32[B, l, T, D]
 */
function readByRows(
  rows: Tensor,
  { states, mask }: ChunkNeighbours,
  p: Parameters,
  name: string,
  {
    heads,
    tokens,
    turning,
  }: {
    readonly heads: number;
    readonly tokens: Dim;
    readonly turning: (frequencies: Float32Array<ArrayBuffer>) => RotaryTables;
  },
): Tensor {
  const { graph } = rows;
  const size = rows.shape[1] as number;
  const [batch, chunks, neighbours, length] = states.shape as [Dim, Dim, Dim, Dim, number];
  const width = p(`${name}.q_proj.weight`).shape[0] as number;
  const [perChunk, allChunks] = [multiplyDims(neighbours, length), multiplyDims(batch, chunks)];
  const query = linear(rows, p, `${name}.q_proj`, { bias: false });

  const withNull = (part: 'key' | 'value') => {
    const own = linear(states, p, `${name}.${part === 'key' ? 'k' : 'v'}_proj`, { bias: false });
    const none = expand(reshape(p(`${name}.null_${part}`), [1, 1, width]), [allChunks, 1, width]);
    const joined = concat([reshape(own, [allChunks, perChunk, width]), none], 1);
    return reshape(joined, [multiplyDims(allChunks, addDims(perChunk, 1)), width]);
  };
  const seen = concat([reshape(mask, [allChunks, perChunk]), fill(graph, 1, [allChunks, 1])], 1);
  const frequencies = neighbourFrequencies(width / heads);
  const turned = turning(frequencies);
  const neighbourTables = withUnturned(
    repeatedTables(rotaryTables(graph, length, frequencies), neighbours),
    width / heads,
  );
  const mixed = attention(query, withNull('key'), withNull('value'), {
    ...{ batch: allChunks, tokens, keyTokens: addDims(perChunk, 1), heads, bias: attentionBias(seen) },
    prepare: (each, of) => rotate(each, of === 'query' ? turned : neighbourTables),
    site: name,
  });
  const read = reshape(linear(mixed, p, `${name}.o_proj`, { bias: false }), [batch, chunks, tokens, size]);
  const any = unsqueeze(unsqueeze(max(reshape(mask, [batch, chunks, perChunk]), { axes: 2 }), 2), 3);
  return mul(read, any);
}

/** Frequencies of the rotary positions in layers that read neighbours, f32[S/2]. */
export const neighbourFrequencies = (headSize: number): Float32Array<ArrayBuffer> =>
  rotaryFrequencies(headSize, { rope_theta: 10_000, rope_scaling: null });

/** Repeats the tables of one sequence for several, one after another: f32[T, S] → f32[copies · T, S]. */
export const repeatedTables = (tables: RotaryTables, copies: Dim): RotaryTables =>
  mapTables(tables, (table) => {
    const [tokens, size] = table.shape as [Dim, number];
    return reshape(expand(unsqueeze(table, 0), [copies, tokens, size]), [multiplyDims(copies, tokens), size]);
  });

/** Adds a last position that is not rotated. */
function withUnturned({ cosines, sines }: RotaryTables, headSize: number): RotaryTables {
  const row = (graph: Graph, value: number) => fill(graph, value, [1, headSize]);
  return {
    cosines: concat([cosines, row(cosines.graph, 1)], 0),
    sines: concat([sines, row(sines.graph, 0)], 0),
  };
}

const mapTables = ({ cosines, sines }: RotaryTables, change: (table: Tensor) => Tensor): RotaryTables => ({
  cosines: change(cosines),
  sines: change(sines),
});
