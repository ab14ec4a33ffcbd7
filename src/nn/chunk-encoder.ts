import { type Dim, multiplyDims } from '../graph/dims.ts';
import { add, fill, matmul, mean, reshape } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { attention } from './attention.ts';
import {
  type CrossAttentionSizes,
  crossAttentionParameters,
  NEIGHBOUR_NORM_EPSILON,
  neighbourFrequencies,
} from './chunked-cross-attention.ts';
import { linear, rmsNorm } from './layers.ts';
import { layerNormParameters, linearParameters, type ParameterSpec, type Parameters } from './parameters.ts';
import { rotaryTables, rotate } from './rotary.ts';

/**
 * Declares the parameters of `encodeChunks`: `name.norm.weight` [D] and `name.attn.{q,k,v,o}_proj.weight`, an attention layer from the
 * tokens of a chunk to each other.
 */
export const chunkEncoderParameters = (
  name: string,
  sizes: Omit<CrossAttentionSizes, 'states'>,
): ParameterSpec[] => [
  ...layerNormParameters(`${name}.norm`, sizes.hidden, { bias: false }),
  ...crossAttentionParameters(`${name}.attn`, { ...sizes, states: sizes.hidden }),
];

/**
 * Encodes chunks in both directions: e = h + attention(norm(h)), with rotary positions in the chunk.
 *
 * @param states states of the tokens of complete chunks, f32[C, m, D]
 * @returns f32[C, m, D]
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421
 */
export function encodeChunks(
  states: Tensor,
  p: Parameters,
  name: string,
  { heads }: { readonly heads: number },
): Tensor {
  const { graph } = states;
  const [chunks, tokens, size] = states.shape as [Dim, number, number];
  return graph.scope(name, () => {
    const rows = reshape(states, [multiplyDims(chunks, tokens), size]);
    const x = rmsNorm(rows, p(`${name}.norm.weight`), NEIGHBOUR_NORM_EPSILON);
    const [query, key, value] = ['q', 'k', 'v'].map((part) =>
      linear(x, p, `${name}.attn.${part}_proj`, { bias: false }),
    );
    const width = query!.shape[1] as number;
    const tables = rotaryTables(graph, tokens, neighbourFrequencies(width / heads));
    const mixed = attention(query!, key!, value!, {
      ...{ batch: chunks, tokens, heads, bias: fill(graph, 0, [1, 1, 1, 1]) },
      prepare: (each) => rotate(each, tables),
      site: name,
    });
    return reshape(add(rows, linear(mixed, p, `${name}.attn.o_proj`, { bias: false })), states.shape);
  });
}

/**
 * Declares the parameters of `chunkVectors`: `name.norm.weight` [D], `name.query.weight` and `name.key.weight` [D, D].
 */
export const chunkVectorParameters = (name: string, hidden: number): ParameterSpec[] => [
  ...layerNormParameters(`${name}.norm`, hidden, { bias: false }),
  ...['query', 'key'].flatMap((side) => linearParameters(`${name}.${side}`, hidden, hidden, { bias: false })),
];

/**
 * Maps chunks to the vectors by which they seek each other: W_q c and W_k c, with c the norm of the mean state of the chunk.
 *
 * @param encoded f32[C, m, D], of `encodeChunks`
 * @returns queries and keys, f32[C, D]
 */
export function chunkVectors(
  encoded: Tensor,
  p: Parameters,
  name: string,
): { readonly queries: Tensor; readonly keys: Tensor } {
  return encoded.graph.scope(name, () => {
    const pooled = rmsNorm(mean(encoded, { axes: 1 }), p(`${name}.norm.weight`), NEIGHBOUR_NORM_EPSILON);
    const [queries, keys] = ['query', 'key'].map((side) =>
      linear(pooled, p, `${name}.${side}`, { bias: false }),
    );
    return { queries: queries!, keys: keys! };
  });
}

/** Scores of chunks as neighbours of others: f32[C, D] and f32[N, D] → f32[C, N], q · k / √D. */
export const chunkScores = (queries: Tensor, keys: Tensor): Tensor =>
  matmul(queries, keys, { transB: true, alpha: 1 / Math.sqrt(queries.shape[1] as number) });
