import { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { buildReading, type CachedPasses } from '../models/language/cached-reading.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import { type NeighbourPart, NO_NEIGHBOUR, neighbourFeeds } from './chunk-neighbours.ts';
import type { RetroModel } from './retro.ts';

/** Parts of `RetroPasses`. */
export interface RetroPassesParts {
  readonly database: ChunkDatabase;
  /** Part of each neighbour that is read. */
  readonly part: NeighbourPart;
  /** Finds the neighbours of a complete chunk: rows of the database, i32[k]. */
  find(ids: Int32Array): Promise<Int32Array>;
  /** Returns the program of a graph, compiled once for each name. */
  program(name: string, makeGraph: () => Graph): Promise<Program>;
}

/**
 * Kinds of pass: tokens that read nothing; tokens of which the first completes a chunk, whose neighbours are encoded; and further tokens
 * that read the same neighbours.
 */
type PassKind = 'nothing' | 'completing' | 'further';

/**
 * Passes of RETRO over further tokens of one text. All tokens of a pass read the same chunk: a pass ends before the token that completes
 * the next one. Kept between passes are the neighbours of the last chunk, encoded, and the states of the last m − 1 tokens in the first
 * layer that reads neighbours, since the neighbours of a chunk are encoded in the light of its states.
 */
export class RetroPasses implements CachedPasses {
  private readonly retro: RetroModel;
  private readonly parts: RetroPassesParts;
  private readonly ids: number[] = [];
  /** States of the last m − 1 tokens, f32[m − 1, D]. */
  private states: Float32Array<ArrayBuffer>;
  /** Neighbours that tokens read now: states f32[1, 1, k, 2m, D] and mask f32[1, 1, k, 2m]; undefined for none. */
  private encoded: { readonly states: HostTensor; readonly mask: HostTensor } | undefined;

  constructor(retro: RetroModel, parts: RetroPassesParts) {
    this.retro = retro;
    this.parts = parts;
    this.states = new Float32Array((this.chunkTokens - 1) * retro.base.decoder.hiddenSize);
  }

  most([read = 0]: readonly number[]): number {
    const { chunkTokens: m } = this;
    return read < m - 1 ? m - 1 - read : m - this.place(read);
  }

  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    [piece = []]: readonly (readonly number[])[],
  ): Promise<Readonly<Record<string, HostTensor>>> {
    const { chunkTokens: m, ids, parts, retro } = this;
    const first = ids.length;
    const isCompleting = first >= m - 1 && this.place(first) === 0;
    ids.push(...piece);
    let neighbours: Record<string, HostTensor> | undefined;
    if (isCompleting) {
      this.encoded = undefined;
      const rows = await parts.find(Int32Array.from(ids.slice(first + 1 - m, first + 1)));
      const dims = { texts: 1, chunks: 1, k: rows.length };
      if (rows.some((row) => row !== NO_NEIGHBOUR))
        neighbours = neighbourFeeds(parts.database, rows, dims, parts.part);
    }
    const kind: PassKind = neighbours ? 'completing' : this.encoded ? 'further' : 'nothing';
    const program = await parts.program(`generate/${kind}`, () => this.graph(kind));
    const places = Float32Array.from(piece, (_, i) => this.place(first + i));
    const D = retro.base.decoder.hiddenSize;
    const outputs = await program.run({
      ...retro.weights,
      ...feeds,
      ...(kind !== 'nothing' && { 'neighbours/places': hostTensor('f32', [1, piece.length], places) }),
      ...(neighbours && { ...neighbours, 'chunk/before': hostTensor('f32', [1, m - 1, D], this.states) }),
      ...(kind === 'further' && {
        'neighbours/states': this.encoded!.states,
        'neighbours/mask': this.encoded!.mask,
      }),
    });
    this.keepStates(float32(outputs['chunk/states']));
    if (neighbours) {
      const { dims, data } = outputs['neighbours/encoded']!;
      const states = hostTensor('f32', dims, (data as Float32Array<ArrayBuffer>).slice());
      this.encoded = { states, mask: neighbours['neighbours/mask']! };
    }
    return outputs;
  }

  private get chunkTokens(): number {
    return this.retro.wing.config.chunkTokens;
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
    const { chunkTokens: m } = this;
    const { base, wing } = this.retro;
    const D = base.decoder.hiddenSize;
    const graph = new Graph(`retro ${kind}`);
    const { get } = this.retro.declare(graph);
    const shape = [1, 1, 'neighbours', 2 * m];
    const mask = () => graph.input('neighbours/mask', 'f32', shape);
    const neighbours =
      kind === 'completing'
        ? {
            ids: graph.input('neighbours/ids', 'i64', shape),
            mask: mask(),
            before: graph.input('chunk/before', 'f32', [1, m - 1, D]),
            onEncoded: (states: Tensor) => graph.output('neighbours/encoded', states),
          }
        : kind === 'further'
          ? { states: graph.input('neighbours/states', 'f32', [...shape, D]), mask: mask() }
          : undefined;
    const memory = wing.passMemory(get, {
      onStates: (states) => graph.output('chunk/states', states),
      neighbours,
      places: neighbours && graph.input('neighbours/places', 'f32', [1, 'tokens']),
    });
    buildReading(graph, get, base.decoder, { memory, texts: 1 });
    return graph;
  }
}
