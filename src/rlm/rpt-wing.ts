import { addDims, type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import {
  concat,
  expand,
  gather,
  gatherElements,
  greater,
  mean,
  mul,
  reshape,
  slice,
  topK,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { LayerMemory, TokenInputs } from '../models/architectures/architecture.ts';
import type { Decoder } from '../models/language/decoder.ts';
import {
  chunkEncoderParameters,
  chunkScores,
  chunkVectorParameters,
  chunkVectors,
  encodeChunks,
} from '../nn/chunk-encoder.ts';
import { type ChunkNeighbours, chunkedCrossAttention } from '../nn/chunked-cross-attention.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { encodeNeighbours } from '../nn/neighbour-encoder.ts';
import { neighbourGateParameters, neighbourGates } from '../nn/neighbour-gate.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';
import {
  completedChunk,
  encoderOptions,
  neighbourPartSpecs,
  type PieceMemory,
  piecewiseMemory,
} from './retro-wing.ts';
import type { RptConfig } from './rpt-config.ts';

/** Prefix of the names of the added parameters. */
export const RPT_PREFIX = 'rpt';
/** Prefix of the names of the maps from chunks to queries and keys. */
export const RPT_RETRIEVER = `${RPT_PREFIX}.retriever`;

/** Chunks of texts that were read before: P chunks. */
export interface PastChunks {
  /** Keys, f32[P, D]. Absent where the retriever is not learned. */
  readonly keys: Tensor | undefined;
  /** Encoded states, f32[P, m, D]. */
  readonly states: Tensor;
  /** Means of the neighbours of each chunk, f32[P, K, D], and which are there, f32[P, K]. */
  readonly pooled: Tensor;
  readonly valid: Tensor;
}

/** New chunks of texts, as inputs of a graph: C complete chunks, which follow P chunks that were read before. N = P + C are known. */
export interface NewChunks {
  /** i64[C]: places of the new chunks among those whose states are computed. */
  readonly places: Tensor;
  /** f32[C, N]: 1 where the chunk of the column may be a neighbour of that of the row. Absent where the retriever is not learned. */
  readonly allowed: Tensor | undefined;
  /** f32[C, N]: 1 where the chunk of the column comes before that of the row in its text. */
  readonly earlier: Tensor;
  /** Neighbours that are given: numbers i64[C, K] among the N chunks, and f32[C, K], which are there. */
  readonly given: { readonly chunks: Tensor; readonly valid: Tensor } | undefined;
  /** f32[C, 1]: 1 for chunks that read the given neighbours, 0 for those that read the learned retriever's. Absent for one kind alone. */
  readonly readsGiven: Tensor | undefined;
  /** Chunks that were read before; undefined for none. */
  readonly past: PastChunks | undefined;
}

/**
 * Windows of texts and their chunks, as inputs of a graph. A batch has W windows of l chunks. The new chunks among them are complete ones that no
 * earlier window has.
 */
export interface RptInputs extends NewChunks {
  /** Tokens, i64[W, l · m]. */
  readonly tokens: TokenInputs;
  /** i64[W, l]: neighbour list that the tokens after a chunk read, of the Q + C ones. */
  readonly read: Tensor;
  /** f32[W, l]: 1 for complete chunks. */
  readonly isRead: Tensor;
  /**
   * Neighbour lists of Q chunks that were read before and that windows have: gated states f32[Q, K, 2m, D], and f32[Q, K], which are there.
   * Absent where none were read.
   */
  readonly lists: { readonly states: Tensor; readonly valid: Tensor } | undefined;
}

/** Results of the retriever for the new chunks of a batch. */
export interface RptFound {
  /** Scores of all chunks as neighbours of the new ones, f32[C, N]. Absent where the retriever is not learned. */
  readonly scores: Tensor | undefined;
  /** Keys of the new chunks, f32[C, D], likewise. */
  readonly keys: Tensor | undefined;
  /** Encoded states of the new chunks, f32[C, m, D]. */
  readonly states: Tensor;
  /** Numbers of the neighbours of each new chunk among the N chunks, i64[C, K], and f32[C, K], which are there. */
  readonly chosen: Tensor;
  readonly valid: Tensor;
  /** Means of the neighbours, f32[C, K, D]. */
  readonly pooled: Tensor;
  /** Gates of the neighbours, f32[C, K]. Absent without gates. */
  readonly gates: Tensor | undefined;
  /** Gated states of the neighbours, f32[C, K, 2m, D]. */
  readonly lists: Tensor;
}

/**
 * Parts that RPT adds to a decoder: a retriever over the chunks of the text that is read, a neighbour encoder, gates, and chunked
 * cross-attention in the upper layers.
 *
 * The first layer that reads neighbours ends the lower half: its states after attention, cut into chunks, are encoded in both directions. They
 * are the content of the chunks as neighbours and, pooled, what the retriever scores. Gradients go through the states of neighbours; which
 * ones are read has no gradient.
 *
 * Parameters, beside those of the decoder: `rpt.chunk.…` (see `chunkEncoderParameters`), `rpt.retriever.…` (see `chunkVectorParameters`),
 * `rpt.gate.…` (see `neighbourGateParameters`), and `rpt.encoder.…` and `rpt.cross.<layer>.…` as in RETRO. The output maps of the
 * cross-attention begin as 0, so a model with fresh parts computes what the decoder computes.
 *
 * Differs from the paper: the lower half ends after the attention of a layer, in place of before it; neighbour encoder and cross-attention are
 * those of RETRO.
 *
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421
 */
export class RptWing {
  readonly config: RptConfig;
  /** Specifications of the added parameters. Those that nothing trains with the config's way of choosing neighbours are frozen. */
  readonly specs: readonly ParameterSpec[];
  private readonly decoder: Decoder;

  constructor(decoder: Decoder, config: RptConfig) {
    this.decoder = decoder;
    this.config = config;
    const { heads, headSize, gateFloor, retrieval } = config;
    const hidden = decoder.hiddenSize;
    const sizes = { hidden, heads, headSize };
    const frozen = (specs: ParameterSpec[], isFrozen: boolean) =>
      isFrozen ? specs.map((spec) => ({ ...spec, frozen: true })) : specs;
    const retriever = chunkVectorParameters(RPT_RETRIEVER, hidden);
    this.specs = frozen(
      [
        ...chunkEncoderParameters(`${RPT_PREFIX}.chunk`, sizes),
        ...frozen(retriever, retrieval !== 'learned'),
        ...(gateFloor === null ? [] : neighbourGateParameters(`${RPT_PREFIX}.gate`, sizes)),
        ...neighbourPartSpecs(RPT_PREFIX, config, hidden),
      ],
      retrieval === 'none',
    );
  }

  /**
   * Declares the inputs of a batch. The names of their dimensions are those of `RptInputs`.
   *
   * @param options.learned whether the retriever is asked
   * @param options.given whether neighbours are given, for all chunks or, with `learned`, for some
   * @param options.past whether chunks were read before
   */
  inputs(graph: Graph, options: { learned: boolean; given: boolean; past: boolean }): RptInputs {
    const { chunkTokens: m, neighbours: K } = this.config;
    const D = this.decoder.hiddenSize;
    const [W, l, Q] = ['windows', 'perWindow', 'lists'];
    const length = multiplyDims(l!, m);
    return {
      tokens: {
        ids: graph.input('windows/ids', 'i64', [W!, length]),
        mask: graph.input('windows/mask', 'f32', [W!, length]),
      },
      ...this.chunkInputs(graph, options),
      read: graph.input('chunks/read', 'i64', [W!, l!]),
      isRead: graph.input('chunks/isRead', 'f32', [W!, l!]),
      lists: options.past
        ? {
            states: graph.input('past/lists', 'f32', [Q!, K, 2 * m, D]),
            valid: graph.input('past/inLists', 'f32', [Q!, K]),
          }
        : undefined,
    };
  }

  /** Declares the inputs of new chunks, as `inputs` does. */
  chunkInputs(
    graph: Graph,
    { learned, given, past }: { learned: boolean; given: boolean; past: boolean },
  ): NewChunks {
    const { chunkTokens: m, neighbours: K } = this.config;
    const D = this.decoder.hiddenSize;
    const [C, P] = ['chunks', 'past'];
    const N = past ? addDims(P!, C!) : C!;
    const f32 = (name: string, shape: Dim[]) => graph.input(name, 'f32', shape);
    const i64 = (name: string, shape: Dim[]) => graph.input(name, 'i64', shape);
    return {
      places: i64('chunks/places', [C!]),
      allowed: learned ? f32('chunks/allowed', [C!, N]) : undefined,
      earlier: f32('chunks/earlier', [C!, N]),
      given: given ? { chunks: i64('given/chunks', [C!, K]), valid: f32('given/valid', [C!, K]) } : undefined,
      readsGiven: given && learned ? f32('given/isRead', [C!, 1]) : undefined,
      past: past
        ? {
            keys: learned ? f32('past/keys', [P!, D]) : undefined,
            states: f32('past/states', [P!, m, D]),
            pooled: f32('past/pooled', [P!, K, D]),
            valid: f32('past/valid', [P!, K]),
          }
        : undefined,
    };
  }

  /**
   * Makes the memory that the decoder's forward pass reads.
   *
   * @param p parameters of the decoder and of the added parts
   * @param onFound receives the results of the retriever, when the first layer that reads neighbours is built
   */
  memory(p: Parameters, inputs: RptInputs, onFound: (found: RptFound) => void): LayerMemory {
    const { chunkTokens, heads, crossLayers } = this.config;
    let neighbours: ChunkNeighbours | undefined;
    return {
      read: (index, hidden) => {
        const layer = index + 1;
        if (!crossLayers.includes(layer)) return undefined;
        if (!neighbours) {
          const m = chunkTokens;
          const cut = reshape(hidden, [multiplyDims(...inputs.read.shape), m, this.decoder.hiddenSize]);
          const found = this.find(p, inputs, cut);
          onFound(found);
          neighbours = this.inWindows(inputs, found);
        }
        return chunkedCrossAttention(hidden, neighbours, p, `${RPT_PREFIX}.cross.${layer}`, {
          ...{ chunkTokens, heads },
        });
      },
    };
  }

  /**
   * Makes the memory of a pass over further tokens of one text, all of which read the neighbours of one chunk or none. No state of a token
   * depends on later tokens, so that the states are those of `memory`.
   */
  passMemory(p: Parameters, { neighbours, onFound, ...pass }: RptPassMemory): LayerMemory {
    const { chunkTokens: m, neighbours: K } = this.config;
    return piecewiseMemory(p, RPT_PREFIX, this.config, {
      ...pass,
      neighboursOf: (hidden) => {
        if (!neighbours || 'states' in neighbours) return neighbours;
        const found = this.find(p, neighbours.chunks, completedChunk(neighbours.before, hidden));
        onFound(found);
        // Further rows stand for no chunk.
        const own = (x: Tensor) => unsqueeze(slice(x, { axis: 0, length: 1 }), 0);
        return { states: own(found.lists), mask: expand(unsqueeze(own(found.valid), 3), [1, 1, K, 2 * m]) };
      },
    });
  }

  /**
   * Finds and encodes the neighbours of the new chunks.
   *
   * @param cut states of chunks, f32[…, m, D], of which `inputs.places` are the new ones
   */
  private find(p: Parameters, inputs: NewChunks, cut: Tensor): RptFound {
    const { chunkTokens: m, neighbours: K, heads, gateFloor } = this.config;
    const { past, places, earlier } = inputs;
    const D = this.decoder.hiddenSize;
    const [C] = places.shape as [Dim];
    const states = encodeChunks(gather(cut, places), p, `${RPT_PREFIX}.chunk`, { heads });
    const { scores, keys, chosen, valid } = this.choose(p, inputs, states);

    const known = past ? concat([past.states, states], 0) : states;
    // The successor of a chunk stands after it. The last one has none and is never a neighbour.
    const next = concat([slice(known, { axis: 0, start: 1 }), slice(known, { axis: 0, length: 1 })], 0);
    const pair = concat([gather(known, chosen), gather(next, chosen)], 2);
    const mask = expand(unsqueeze(valid, 2), [C, K, 2 * m]);
    const one = (x: Tensor) => unsqueeze(x, 0);
    const encoded = reshape(
      encodeNeighbours(
        {
          embeddings: one(pair),
          mask: one(mask),
          hidden: reshape(states, [1, multiplyDims(C, m), D]),
        },
        p,
        `${RPT_PREFIX}.encoder`,
        encoderOptions(this.config),
      ),
      [C, K, 2 * m, D],
    );
    const pooled = mean(encoded, { axes: 2 });
    const gates =
      gateFloor === null
        ? undefined
        : neighbourGates({ pooled, valid, earlier, past }, p, `${RPT_PREFIX}.gate`, {
            ...{ heads, floor: gateFloor },
          });
    const lists = gates ? mul(encoded, unsqueeze(unsqueeze(gates, 2), 3)) : encoded;
    return { scores, keys, states, chosen, valid, pooled, gates, lists };
  }

  /** Chooses the neighbours of the new chunks. */
  private choose(
    p: Parameters,
    { allowed, given, readsGiven, past }: NewChunks,
    states: Tensor,
  ): Pick<RptFound, 'scores' | 'keys' | 'chosen' | 'valid'> {
    const own = { chosen: given?.chunks as Tensor, valid: given?.valid as Tensor };
    if (!allowed) return { scores: undefined, keys: undefined, ...own };
    const { queries, keys } = chunkVectors(states, p, RPT_RETRIEVER);
    const scores = chunkScores(queries, past?.keys ? concat([past.keys, keys], 0) : keys);
    const ranked = where(greater(allowed, 0.5), scores, MASKED_SCORE);
    const { indices } = topK(ranked, { k: this.config.neighbours });
    const found = { chosen: indices, valid: gatherElements(allowed, indices, { axis: 1 }) };
    if (!readsGiven) return { scores, keys, ...found };
    const isGiven = greater(readsGiven, 0.5);
    return {
      ...{ scores, keys },
      chosen: where(isGiven, own.chosen, found.chosen),
      valid: where(isGiven, own.valid, found.valid),
    };
  }

  /** Gives each chunk of the windows its neighbours. */
  private inWindows({ read, isRead, lists: before }: RptInputs, found: RptFound): ChunkNeighbours {
    const { chunkTokens: m, neighbours: K } = this.config;
    const lists = before ? concat([before.states, found.lists], 0) : found.lists;
    const valid = before ? concat([before.valid, found.valid], 0) : found.valid;
    const there = mul(gather(valid, read), unsqueeze(isRead, 2));
    return {
      states: gather(lists, read),
      mask: expand(unsqueeze(there, 3), [...read.shape, K, 2 * m]),
    };
  }
}

/** Neighbours that the tokens of one pass read, and what the pass gives out. See `RptWing.passMemory`. */
export interface RptPassMemory extends Omit<PieceMemory, 'neighboursOf'> {
  /** Encoded neighbours, or the chunk that the first token of the pass completes; undefined where nothing is read. */
  readonly neighbours:
    | ChunkNeighbours
    | {
        /** The chunk, in the first row. Its place is 0. */
        readonly chunks: NewChunks;
        /** States of the m − 1 tokens before the first one, f32[1, m − 1, D]. */
        readonly before: Tensor;
      }
    | undefined;
  /** Receives the results of the retriever for a chunk that the pass completes. */
  onFound(found: RptFound): void;
}
