import { type Dim, multiplyDims } from '../graph/dims.ts';
import { concat, reshape, slice } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { LayerMemory } from '../models/architectures/architecture.ts';
import type { Decoder } from '../models/language/decoder.ts';
import {
  type ChunkNeighbours,
  chunkedCrossAttention,
  chunkedCrossAttentionParameters,
  pieceCrossAttention,
} from '../nn/chunked-cross-attention.ts';
import { encodeNeighbours, neighbourEncoderParameters } from '../nn/neighbour-encoder.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';

/** Shape of the parts that RETRO adds to a decoder. */
export interface RetroConfig {
  /** Tokens of a chunk, m. A neighbour is a chunk and its continuation, r = 2m tokens. */
  readonly chunkTokens: number;
  /** Neighbours of each chunk in training, k. */
  readonly neighbours: number;
  /** Layers of the decoder that read neighbours, ascending, counted from 1 as in the paper. */
  readonly crossLayers: readonly number[];
  /** Layers of the neighbour encoder. */
  readonly encoderLayers: number;
  /** Layers of the encoder, counted from 1, that read the chunk whose neighbours they encode. */
  readonly encoderCrossLayers: readonly number[];
  /** Attention heads of all these layers. */
  readonly heads: number;
  /** Size of a head. */
  readonly headSize: number;
  /** Width of the encoder's feed-forward parts. */
  readonly encoderInner: number;
}

/** Prefix of the names of the added parameters. */
const PREFIX = 'retro';

/**
 * Fills in the shape of the added parts.
 *
 * Defaults follow the smallest model of the paper: every third layer reads neighbours, from the middle on and the last two of a decoder
 * with fewer than six; chunks of 64 tokens; 2 neighbours; an encoder of two layers, of which the first reads the chunk.
 *
 * @throws UsageError for a value out of range
 */
export function retroConfig(decoder: Decoder, given: Partial<RetroConfig> = {}): RetroConfig {
  const { layers, size } = decoder.cacheShape;
  const { chunkTokens = 64, neighbours = 2, encoderLayers = 2, encoderCrossLayers = [1] } = given;
  const { crossLayers = defaultLayers(layers), heads = Math.ceil(decoder.hiddenSize / size) } = given;
  const { headSize = 2 * Math.ceil(decoder.hiddenSize / heads / 2) } = given;
  const { encoderInner = 4 * decoder.hiddenSize } = given;
  const counts = { chunkTokens, neighbours, encoderLayers, heads, headSize, encoderInner };
  for (const [name, value] of Object.entries(counts)) {
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new UsageError(`${option(name)} must be a whole number of at least 1, found ${value}`);
  }
  if (headSize % 2 !== 0) throw new UsageError(`headSize ${headSize} is odd: rotary positions turn pairs`);
  checkLayers('crossLayers', crossLayers, { layers, of: 'the model', atLeast: 1 });
  checkLayers('encoderCrossLayers', encoderCrossLayers, {
    layers: encoderLayers,
    of: 'the encoder',
    atLeast: 0,
  });
  return { ...counts, crossLayers, encoderCrossLayers };
}

/** Checks the config that a file has. @throws DataError */
export const parseRetroConfig = (decoder: Decoder, json: unknown, file: string): RetroConfig =>
  addedConfigIn((given) => retroConfig(decoder, given), json, file);

/**
 * Checks the config of added parts that a file has.
 *
 * @param complete fills in the config
 * @throws DataError for a value that is missing or out of range
 */
export function addedConfigIn<Config extends object>(
  complete: (given: Partial<Config>) => Config,
  json: unknown,
  file: string,
): Config {
  const given = typeof json === 'object' && json !== null ? (json as Partial<Config>) : {};
  let config: Config;
  try {
    config = complete(given);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw new DataError(cause.marked.message, { file, cause, help: 'the file is damaged' });
  }
  const missing = Object.keys(config).find((name) => !(name in given));
  if (missing === undefined) return config;
  throw new DataError(`has no "${missing}" in its config`, { file, help: 'the file is damaged' });
}

function checkLayers(
  name: string,
  given: readonly number[],
  { layers, of, atLeast }: { layers: number; of: string; atLeast: number },
): void {
  const ascending = given.every((layer, i) => i === 0 || layer > given[i - 1]!);
  const known = given.every((layer) => Number.isSafeInteger(layer) && layer >= 1 && layer <= layers);
  if (ascending && known && given.length >= atLeast) return;
  throw new UsageError(
    `${option(name)} must be layers of ${of}, from 1 to ${layers}, ascending; found ${given.join(', ') || 'none'}`,
  );
}

function defaultLayers(layers: number): number[] {
  if (layers < 6) return layers === 1 ? [1] : [layers - 1, layers];
  return Array.from({ length: layers }, (_, i) => i + 1).filter(
    (layer) => layer >= Math.floor(layers / 2) && (layer - Math.floor(layers / 2)) % 3 === 0,
  );
}

/** Declares a neighbour encoder, `prefix.encoder`, and chunked cross-attention in some layers, `prefix.cross.<layer>`. */
export function neighbourPartSpecs(prefix: string, config: RetroConfig, hidden: number): ParameterSpec[] {
  const { heads, headSize, encoderInner: inner, crossLayers } = config;
  const sizes = { hidden, states: hidden, heads, headSize };
  return [
    ...neighbourEncoderParameters(`${prefix}.encoder`, { ...sizes, inner, ...encoderOptions(config) }),
    ...crossLayers.flatMap((layer) => chunkedCrossAttentionParameters(`${prefix}.cross.${layer}`, sizes)),
  ];
}

/** Options of the neighbour encoder, which counts its layers from 0. */
export const encoderOptions = ({ chunkTokens, heads, encoderLayers, encoderCrossLayers }: RetroConfig) => ({
  ...{ chunkTokens, heads, layers: encoderLayers },
  crossLayers: encoderCrossLayers.map((layer) => layer - 1),
});

/**
 * Parts that RETRO adds to a decoder: a neighbour encoder, and chunked cross-attention in some layers.
 *
 * Parameters, beside those of the decoder: `retro.encoder.…` (see `neighbourEncoderParameters`) and `retro.cross.<layer>.…` with the layer
 * from 1 (see `chunkedCrossAttentionParameters`). The tokens of neighbours enter the encoder with the decoder's own embeddings. The output
 * maps of the cross-attention begin as 0, so a model with fresh parts computes what the decoder computes.
 */
export class RetroWing {
  readonly config: RetroConfig;
  /** Specifications of the added parameters. */
  readonly specs: readonly ParameterSpec[];
  private readonly decoder: Decoder;

  constructor(decoder: Decoder, config: RetroConfig) {
    this.decoder = decoder;
    this.config = config;
    this.specs = neighbourPartSpecs(PREFIX, config, decoder.hiddenSize);
  }

  /**
   * Makes the memory that the decoder's forward pass reads. The neighbours are encoded once, with the states of the first layer that
   * reads them.
   *
   * @param p parameters of the decoder and of the added parts
   * @param neighbours ids i64[B, l, k, r] and mask f32[B, l, k, r] of the neighbours of each complete chunk (see `ChunkNeighbours`)
   */
  memory(p: Parameters, { ids, mask }: { ids: Tensor; mask: Tensor }): LayerMemory {
    const { chunkTokens, heads, crossLayers } = this.config;
    let encoded: ChunkNeighbours | undefined;
    return {
      read: (index, hidden) => {
        const layer = index + 1;
        if (!crossLayers.includes(layer)) return undefined;
        encoded ??= this.encode(p, { ids, mask }, hidden);
        return chunkedCrossAttention(hidden, encoded, p, nameOf(layer), { chunkTokens, heads });
      },
    };
  }

  /**
   * Makes the memory of a pass over further tokens of a text, all of which read the same chunk or none. No state of a token depends on
   * later tokens, so that the states are those of `memory`.
   */
  passMemory(p: Parameters, { neighbours, onEncoded, ...pass }: PassMemory): LayerMemory {
    return piecewiseMemory(p, PREFIX, this.config, {
      ...pass,
      neighboursOf: (hidden) => {
        if (!neighbours || 'states' in neighbours) return neighbours;
        const encoded = this.encode(p, neighbours, completedChunk(neighbours.before, hidden));
        onEncoded(encoded.states);
        return encoded;
      },
    });
  }

  private encode(
    p: Parameters,
    { ids, mask }: { ids: Tensor; mask: Tensor },
    hidden: Tensor,
  ): ChunkNeighbours {
    const [batch, ...rest] = ids.shape as [Dim, Dim, Dim, Dim];
    const flat = this.decoder.embed(p, reshape(ids, [batch, multiplyDims(...rest)]));
    const embeddings = reshape(flat, [batch, ...rest, this.decoder.hiddenSize]);
    const states = encodeNeighbours(
      { embeddings, mask, hidden },
      p,
      `${PREFIX}.encoder`,
      encoderOptions(this.config),
    );
    return { states, mask };
  }
}

/** Neighbours that the tokens of one pass read, and what the pass gives out. See `RetroWing.passMemory`. */
export interface PassMemory extends Omit<PieceMemory, 'neighboursOf'> {
  /** Encoded neighbours, or those of the chunk that the first token of the pass completes; undefined where nothing is read. */
  readonly neighbours:
    | ChunkNeighbours
    | {
        /** Ids i64[1, 1, k, 2m] of the neighbours. */
        readonly ids: Tensor;
        /** Mask f32[1, 1, k, 2m]. */
        readonly mask: Tensor;
        /** States of the tokens before the first one, f32[1, m − 1, D]. */
        readonly before: Tensor;
      }
    | undefined;
  /** Receives neighbours that the pass encodes, f32[1, 1, k, 2m, D]. */
  onEncoded(states: Tensor): void;
}

/** Parts of the memory of a pass over further tokens of one text. */
export interface PieceMemory {
  /** Receives the states of the tokens in the first layer that reads neighbours, f32[1, T, D]. */
  onStates(states: Tensor): void;
  /** Makes the neighbours that the tokens read, from these states; undefined for none. */
  neighboursOf(states: Tensor): ChunkNeighbours | undefined;
  /** Places of the tokens among those that read the chunk, from 0, f32[1, T]; undefined where nothing is read. */
  readonly places: Tensor | undefined;
}

/** Makes the memory of a pass over further tokens of one text, all of which read the neighbours of one chunk or none. */
export function piecewiseMemory(
  p: Parameters,
  prefix: string,
  { chunkTokens, heads, crossLayers }: RetroConfig,
  { onStates, neighboursOf, places }: PieceMemory,
): LayerMemory {
  let neighbours: ChunkNeighbours | undefined;
  return {
    read: (index, hidden) => {
      const layer = index + 1;
      if (!crossLayers.includes(layer)) return undefined;
      if (layer === crossLayers[0]) {
        onStates(hidden);
        neighbours = neighboursOf(hidden);
      }
      if (!neighbours) return undefined;
      const name = `${prefix}.cross.${layer}`;
      return pieceCrossAttention(hidden, neighbours, places!, p, name, { chunkTokens, heads });
    },
  };
}

/**
 * States of the chunk that the first token of a pass completes, f32[1, m, D].
 *
 * @param before states of the m − 1 tokens before it, f32[1, m − 1, D]
 */
export const completedChunk = (before: Tensor, hidden: Tensor): Tensor =>
  concat([before, slice(hidden, { axis: 1, length: 1 })], 1);

const nameOf = (layer: number): string => `${PREFIX}.cross.${layer}`;
