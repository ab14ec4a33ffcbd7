import { type Dim, multiplyDims } from '../graph/dims.ts';
import { add, fill, gelu, reshape, slice } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type AttentionOptions, attention, attentionBias } from './attention.ts';
import {
  type CrossAttentionSizes,
  crossAttentionParameters,
  NEIGHBOUR_NORM_EPSILON,
  type NeighbourLayerOptions,
  neighbourFrequencies,
  repeatedTables,
} from './chunked-cross-attention.ts';
import { linear, rmsNorm } from './layers.ts';
import { layerNormParameters, linearParameters, type ParameterSpec, type Parameters } from './parameters.ts';
import { rotaryTables, rotate } from './rotary.ts';

/** Shape of a neighbour encoder. `hidden` is the width of the decoder, `states` its own. */
export interface NeighbourEncoderShape extends CrossAttentionSizes {
  /** Number of layers. */
  readonly layers: number;
  /** Layers, from 0, that read the chunk whose neighbours they encode. */
  readonly crossLayers: readonly number[];
  /** Width of the feed-forward parts. */
  readonly inner: number;
}

/**
 * Declares the parameters of `encodeNeighbours`:
 *
 * - `name.chunk_norm.weight` [D]: RMS norm of the chunk's states, if any layer reads them
 * - for each layer e, under `name.layers.e`: `self_norm.weight` [E] and `self_attn.{q,k,v,o}_proj.weight`; in layers that read the chunk
 *   `cross_norm.weight` [E] and `cross_attn.{q,k,v,o}_proj.weight`; `mlp_norm.weight` [E], `mlp.up_proj` and `mlp.down_proj` with biases
 * - `name.norm.weight` [E]: RMS norm of the result
 */
export function neighbourEncoderParameters(name: string, shape: NeighbourEncoderShape): ParameterSpec[] {
  const { states, inner } = shape;
  const norm = (of: string, size = states) => layerNormParameters(`${name}.${of}`, size, { bias: false });
  return [
    ...(shape.crossLayers.length > 0 ? norm('chunk_norm', shape.hidden) : []),
    ...Array.from({ length: shape.layers }, (_, e) => [
      ...norm(`layers.${e}.self_norm`),
      ...crossAttentionParameters(`${name}.layers.${e}.self_attn`, { ...shape, hidden: states }),
      ...(shape.crossLayers.includes(e)
        ? [
            ...norm(`layers.${e}.cross_norm`),
            ...crossAttentionParameters(`${name}.layers.${e}.cross_attn`, {
              ...shape,
              hidden: states,
              states: shape.hidden,
            }),
          ]
        : []),
      ...norm(`layers.${e}.mlp_norm`),
      ...linearParameters(`${name}.layers.${e}.mlp.up_proj`, states, inner),
      ...linearParameters(`${name}.layers.${e}.mlp.down_proj`, inner, states),
    ]).flat(),
    ...norm('norm'),
  ];
}

/**
 * Encodes the neighbours of each chunk in both directions, in the light of the chunk:
 *
 *     e = e + selfAttention(norm(e));  e = e + crossAttention(norm(e), norm(h_u));  e = e + W_2 gelu(W_1 norm(e) + b_1) + b_2
 *
 * in each layer, the second only in `crossLayers`, and e = norm(e) at the end. Self-attention stays within a neighbour. Positions are
 * rotary: token i′ of a neighbour and token i of its chunk have the distance i′ − i. Only complete chunks are read: the states of chunk u
 * are h at the tokens u·m … (u + 1)·m − 1.
 *
 * Paper: Borgeaud et al. 2022, arXiv:2112.04426. Differs: rotary positions in place of learned logits of distances.
 *
 * @param embeddings vectors of the neighbours' tokens, f32[B, l, k, r, E]
 * @param mask f32[B, l, k, r]: 1 for tokens, 0 for padding
 * @param hidden states of the decoder, f32[B, T, D], T ≥ l·m
 * @returns f32[B, l, k, r, E]
 */
export function encodeNeighbours(
  { embeddings, mask, hidden }: { embeddings: Tensor; mask: Tensor; hidden: Tensor },
  p: Parameters,
  name: string,
  {
    chunkTokens,
    heads,
    layers,
    crossLayers,
  }: NeighbourLayerOptions & Pick<NeighbourEncoderShape, 'layers' | 'crossLayers'>,
): Tensor {
  const { graph } = embeddings;
  const [batch, chunks, neighbours, length, size] = embeddings.shape as [Dim, Dim, Dim, Dim, number];
  const allChunks = multiplyDims(batch, chunks);
  const all = multiplyDims(allChunks, neighbours);
  const rows = multiplyDims(all, length);
  const width = hidden.shape[2] as number;
  const norm = (x: Tensor, of: string) => rmsNorm(x, p(`${name}.${of}.weight`), NEIGHBOUR_NORM_EPSILON);

  return graph.scope(name, () => {
    const frequencies = neighbourFrequencies(
      (p(`${name}.layers.0.self_attn.q_proj.weight`).shape[0] as number) / heads,
    );
    const tables = rotaryTables(graph, length, frequencies);
    const every = repeatedTables(tables, neighbours);
    const chunkTables = rotaryTables(graph, chunkTokens, frequencies);
    const padding = attentionBias(reshape(mask, [all, length]));
    const chunkRows = () => {
      const complete = slice(hidden, { axis: 1, length: multiplyDims(chunks, chunkTokens) });
      return norm(reshape(complete, [multiplyDims(allChunks, chunkTokens), width]), 'chunk_norm');
    };
    const chunk = crossLayers.length > 0 ? chunkRows() : undefined;

    let e = reshape(embeddings, [rows, size]);
    for (let layer = 0; layer < layers; layer++) {
      const at = `layers.${layer}`;
      const attend = (
        part: 'self' | 'cross',
        read: Tensor | undefined,
        options: Omit<AttentionOptions, 'heads' | 'site'>,
      ) => {
        const x = norm(e, `${at}.${part}_norm`);
        const of = `${name}.${at}.${part}_attn`;
        const [query, key, value] = [x, read ?? x, read ?? x].map((each, i) =>
          linear(each, p, `${of}.${'qkv'[i]}_proj`, { bias: false }),
        );
        const mixed = attention(query!, key!, value!, { heads, site: of, ...options });
        return add(e, linear(mixed, p, `${of}.o_proj`, { bias: false }));
      };
      e = attend('self', undefined, {
        batch: all,
        tokens: length,
        bias: padding,
        prepare: (each) => rotate(each, tables),
      });
      if (chunk && crossLayers.includes(layer)) {
        e = attend('cross', chunk, {
          batch: allChunks,
          tokens: multiplyDims(neighbours, length),
          keyTokens: chunkTokens,
          bias: fill(graph, 0, [1, 1, 1, 1]),
          prepare: (each, of) => rotate(each, of === 'query' ? every : chunkTables),
        });
      }
      const inner = gelu(linear(norm(e, `${at}.mlp_norm`), p, `${name}.${at}.mlp.up_proj`));
      e = add(e, linear(inner, p, `${name}.${at}.mlp.down_proj`));
    }
    return reshape(norm(e, 'norm'), [batch, chunks, neighbours, length, size]);
  });
}
