import type { Graph } from '../graph/graph.ts';
import type { LayerMemory } from '../models/architectures/architecture.ts';
import type { Parameters } from '../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import { type NeighbourPart, NO_NEIGHBOUR, neighbourFeeds } from './chunk-neighbours.ts';
import { ChunkPasses, type ChunkPassInputs, type CompletingChunk } from './chunk-passes.ts';
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

/** Passes of RETRO over further tokens of one text. The neighbours of a chunk are encoded in the light of its states. */
export class RetroPasses extends ChunkPasses {
  private readonly retro: RetroModel;
  private readonly parts: RetroPassesParts;

  constructor(retro: RetroModel, parts: RetroPassesParts) {
    super(retro);
    this.retro = retro;
    this.parts = parts;
  }

  protected async complete(ids: Int32Array): Promise<CompletingChunk | undefined> {
    const { database, find, part } = this.parts;
    const rows = await find(ids);
    if (rows.every((row) => row === NO_NEIGHBOUR)) return undefined;
    const feeds = neighbourFeeds(database, rows, { texts: 1, chunks: 1, k: rows.length }, part);
    return { feeds, take: (outputs) => ({ states: encoded(outputs), mask: feeds['neighbours/mask']! }) };
  }

  protected memory(
    p: Parameters,
    { graph, kind, onStates, places, before, encoded }: ChunkPassInputs,
  ): LayerMemory {
    const shape = [1, 1, 'neighbours', 2 * this.retro.wing.config.chunkTokens];
    const asked = () => ({
      ids: graph.input('neighbours/ids', 'i64', shape),
      mask: graph.input('neighbours/mask', 'f32', shape),
      before: before!,
    });
    return this.retro.wing.passMemory(p, {
      ...{ onStates, places },
      neighbours: kind === 'completing' ? asked() : encoded,
      onEncoded: (states) => graph.output('neighbours/encoded', states),
    });
  }

  protected program(name: string, makeGraph: () => Graph): Promise<Program> {
    return this.parts.program(name, makeGraph);
  }
}

/** Copies the encoded neighbours, which the next pass overwrites. */
function encoded({ 'neighbours/encoded': states }: Readonly<Record<string, HostTensor>>): HostTensor {
  const { dims, data } = states!;
  return hostTensor('f32', dims, (data as Float32Array<ArrayBuffer>).slice());
}
