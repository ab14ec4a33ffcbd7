import type { Graph } from '../graph/graph.ts';
import type { LayerMemory } from '../models/architectures/architecture.ts';
import type { Parameters } from '../nn/parameters.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import {
  ChunkPasses,
  type ChunkPassInputs,
  type CompletingChunk,
  type EncodedNeighbours,
} from './chunk-passes.ts';
import { earlierChunks } from './chunked-text.ts';
import type { RptModel } from './rpt.ts';
import { type ChunkLayout, chunkLayout } from './rpt-feeds.ts';
import type { RptPast } from './rpt-past.ts';
import type { RptFound } from './rpt-wing.ts';

/** Parts of `RptPasses`. */
export interface RptPassesParts {
  /** Text that is read, with the states of its chunks. */
  readonly past: RptPast;
  /** Place of the first token of the window in the text. */
  readonly start: number;
  /** Whether the learned retriever chooses neighbours. */
  readonly learned: boolean;
  /** Makes the inputs that choose the neighbours of a new chunk. */
  neighbourFeeds(layout: ChunkLayout): Promise<Readonly<Record<string, HostTensor>>>;
  /** Adds a new chunk to those of the text. */
  add(layout: ChunkLayout, outputs: Readonly<Record<string, HostTensor>>): void;
  /** Returns the program of a graph, compiled once for each name. */
  program(name: string, makeGraph: () => Graph): Promise<Program>;
}

/**
 * Passes of RPT over further tokens of one window. A chunk that an earlier window has completed has its neighbours; those of a new one are
 * chosen, encoded and kept when it is complete.
 */
export class RptPasses extends ChunkPasses {
  private readonly rpt: RptModel;
  private readonly parts: RptPassesParts;

  constructor(rpt: RptModel, parts: RptPassesParts) {
    super(rpt);
    this.rpt = rpt;
    this.parts = parts;
  }

  protected async complete(
    _: Int32Array,
    inWindow: number,
  ): Promise<EncodedNeighbours | CompletingChunk | undefined> {
    const { past, start, neighbourFeeds, add } = this.parts;
    const { config } = this.rpt.wing;
    const chunk = start / config.chunkTokens + inWindow;
    if (chunk < past.known) return past.neighbours(chunk);
    const among = earlierChunks(start, config.chunkTokens);
    const layout = chunkLayout({ text: 0, chunk, among }, config, past.layout(start));
    return {
      feeds: { ...layout.feeds, ...past.feeds(), ...(await neighbourFeeds(layout)) },
      take: (outputs) => {
        add(layout, outputs);
        return past.neighbours(chunk);
      },
    };
  }

  protected memory(
    p: Parameters,
    { graph, kind, onStates, places, before, encoded }: ChunkPassInputs,
  ): LayerMemory {
    const { wing } = this.rpt;
    const { learned } = this.parts;
    const asked = () => ({
      chunks: wing.chunkInputs(graph, { learned, given: !learned, past: true }),
      before: before!,
    });
    return wing.passMemory(p, {
      ...{ onStates, places },
      neighbours: kind === 'completing' ? asked() : encoded,
      onFound: (found) => outputChunks(graph, found),
    });
  }

  protected program(name: string, makeGraph: () => Graph): Promise<Program> {
    return this.parts.program(name, makeGraph);
  }
}

/** Declares the outputs `chunks/…` of new chunks, which `RptPast.add` takes. */
export function outputChunks(graph: Graph, found: RptFound): void {
  for (const part of ['states', 'pooled', 'chosen', 'valid', 'lists'] as const)
    graph.output(`chunks/${part}`, found[part]);
  if (found.keys) graph.output('chunks/keys', found.keys);
}
