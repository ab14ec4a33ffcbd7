import { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { LayerMemory } from '../models/architectures/architecture.ts';
import { buildReading, type CachedPasses } from '../models/language/cached-reading.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { ChunkNeighbours } from '../nn/chunked-cross-attention.ts';
import type { DeclaredParameters, Parameters } from '../nn/parameters.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';

/** Language model with parts that read neighbours of chunks. */
export interface ChunkReader {
  readonly base: LanguageModel;
  readonly wing: { readonly config: { readonly chunkTokens: number } };
  readonly weights: Readonly<Record<string, HostTensor>>;
  declare(graph: Graph): DeclaredParameters;
}

/** Neighbours of a chunk, encoded: states f32[1, 1, k, 2m, D] and mask f32[1, 1, k, 2m]. */
export interface EncodedNeighbours {
  readonly states: HostTensor;
  readonly mask: HostTensor;
}

/** Chunk whose neighbours are encoded by the pass that completes it. */
export interface CompletingChunk {
  /** Inputs of the pass, beside those of the tokens. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** Takes what the pass has made, and returns the neighbours for the passes after it; undefined for none. */
  take(outputs: Readonly<Record<string, HostTensor>>): EncodedNeighbours | undefined;
}

/**
 * Kinds of pass: tokens that read nothing; tokens of which the first completes a chunk, whose neighbours are encoded; and further tokens
 * that read neighbours which are encoded already.
 */
export type PassKind = 'nothing' | 'completing' | 'further';

/** Parts of the memory of a pass. */
export interface ChunkPassInputs {
  readonly graph: Graph;
  readonly kind: PassKind;
  /** Receives the states of the tokens in the first layer that reads neighbours, f32[1, T, D]. */
  onStates(states: Tensor): void;
  /** Places of the tokens among those that read the chunk, f32[1, T]; undefined where nothing is read. */
  readonly places: Tensor | undefined;
  /** States of the m − 1 tokens before the first one, f32[1, m − 1, D], for completing passes. */
  readonly before: Tensor | undefined;
  /** Neighbours that further tokens read. */
  readonly encoded: ChunkNeighbours | undefined;
}

/**
 * Passes over further tokens of one text, for models that read neighbours of its chunks. All tokens of a pass read the same chunk: a pass ends
 * before the token that completes the next one. Kept between passes are the encoded neighbours of the last chunk, and the states of the last
 * m − 1 tokens in the first layer that reads neighbours, since a chunk is known by its states.
 */
export abstract class ChunkPasses implements CachedPasses {
  protected readonly reader: ChunkReader;
  private readonly ids: number[] = [];
  /** States of the last m − 1 tokens, f32[m − 1, D]. */
  private states: Float32Array<ArrayBuffer>;
  /** Neighbours that tokens read now; undefined for none. */
  private encoded: EncodedNeighbours | undefined;

  constructor(reader: ChunkReader) {
    this.reader = reader;
    this.states = new Float32Array((this.chunkTokens - 1) * this.hidden);
  }

  most([read = 0]: readonly number[]): number {
    const { chunkTokens: m } = this;
    return read < m - 1 ? m - 1 - read : m - this.place(read);
  }

  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    [piece = []]: readonly (readonly number[])[],
  ): Promise<Readonly<Record<string, HostTensor>>> {
    const { chunkTokens: m, ids } = this;
    const first = ids.length;
    ids.push(...piece);
    let completing: CompletingChunk | undefined;
    if (first >= m - 1 && this.place(first) === 0) {
      const own = Int32Array.from(ids.slice(first + 1 - m, first + 1));
      const found = await this.complete(own, (first + 1) / m - 1);
      this.encoded = found && 'states' in found ? found : undefined;
      completing = found && 'feeds' in found ? found : undefined;
    }
    const kind: PassKind = completing ? 'completing' : this.encoded ? 'further' : 'nothing';
    const program = await this.program(`generate/${kind}`, () => this.graph(kind));
    const places = Float32Array.from(piece, (_, i) => this.place(first + i));
    const outputs = await program.run({
      ...this.reader.weights,
      ...feeds,
      ...(kind !== 'nothing' && { 'neighbours/places': hostTensor('f32', [1, piece.length], places) }),
      ...(completing && {
        ...completing.feeds,
        'chunk/before': hostTensor('f32', [1, m - 1, this.hidden], this.states),
      }),
      ...(kind === 'further' && {
        'neighbours/states': this.encoded!.states,
        'neighbours/mask': this.encoded!.mask,
      }),
    });
    this.keepStates(float32(outputs['chunk/states']));
    if (completing) this.encoded = completing.take(outputs);
    return outputs;
  }

  /**
   * Finds the neighbours of a complete chunk.
   *
   * @param ids tokens of the chunk, i32[m]
   * @param chunk number of the chunk among those of the passes
   * @returns encoded neighbours, or those to encode; undefined where nothing is read
   */
  protected abstract complete(
    ids: Int32Array,
    chunk: number,
  ): Promise<EncodedNeighbours | CompletingChunk | undefined>;

  /** Makes the memory of a pass, and gives out what `CompletingChunk.take` needs. */
  protected abstract memory(p: Parameters, inputs: ChunkPassInputs): LayerMemory;

  /** Returns the program of a graph, compiled once for each name. */
  protected abstract program(name: string, makeGraph: () => Graph): Promise<Program>;

  private get chunkTokens(): number {
    return this.reader.wing.config.chunkTokens;
  }

  private get hidden(): number {
    return this.reader.base.decoder.hiddenSize;
  }

  /** Place of a token among those that read the same chunk. Negative for tokens before the first chunk is complete. */
  private place(token: number): number {
    const after = token - (this.chunkTokens - 1);
    return after < 0 ? after : after % this.chunkTokens;
  }

  /** Keeps the states of the last m − 1 tokens. */
  private keepStates(own: Float32Array): void {
    const { states } = this;
    const added = Math.min(own.length, states.length);
    const kept = new Float32Array(states.length);
    kept.set(states.subarray(added));
    kept.set(own.subarray(own.length - added), states.length - added);
    this.states = kept;
  }

  private graph(kind: PassKind): Graph {
    const { chunkTokens: m, hidden: D } = this;
    const graph = new Graph(`chunk pass ${kind}`);
    const { get } = this.reader.declare(graph);
    const shape = [1, 1, 'neighbours', 2 * m];
    const memory = this.memory(get, {
      ...{ graph, kind },
      onStates: (states) => graph.output('chunk/states', states),
      places: kind === 'nothing' ? undefined : graph.input('neighbours/places', 'f32', [1, 'tokens']),
      before: kind === 'completing' ? graph.input('chunk/before', 'f32', [1, m - 1, D]) : undefined,
      encoded:
        kind === 'further'
          ? {
              states: graph.input('neighbours/states', 'f32', [...shape, D]),
              mask: graph.input('neighbours/mask', 'f32', shape),
            }
          : undefined,
    });
    buildReading(graph, get, this.reader.base.decoder, { memory, texts: 1 });
    return graph;
  }
}
