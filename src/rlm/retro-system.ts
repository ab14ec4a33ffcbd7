import { Graph } from '../graph/graph.ts';
import {
  type GenerationOptions,
  generate,
  generateByPasses,
  type Prompt,
} from '../models/language/generate.ts';
import type { Generation } from '../models/language/generation-rows.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import {
  buildScoring,
  checkSequences,
  passScores,
  scoringFeeds,
  scoringPasses,
} from '../models/language/score-tokens.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions, Device } from '../runtime/devices.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import { findNeighbours, type NeighbourPart, NO_NEIGHBOUR, neighbourFeeds } from './chunk-neighbours.ts';
import { countReading, type LanguageSystem, type ScoreOptions, type Segment } from './language-system.ts';
import type { PassageQuery } from './leak-filter.ts';
import type { PassageSource } from './passage-source.ts';
import type { RetroModel } from './retro.ts';
import { RetroPasses } from './retro-passes.ts';

/**
 * Neighbours that a model reads: those of its chunks (`true`), as many of other chunks drawn at random (`shuffled`, a control), or none
 * (`off`, which is the base).
 */
export const NEIGHBOUR_CHOICES = ['true', 'shuffled', 'off'] as const;

/** Choice of the neighbours that a model reads. */
export type NeighbourChoice = (typeof NEIGHBOUR_CHOICES)[number];

/** Settings of a RETRO system. */
export interface RetroReading {
  /** Neighbours of each chunk. Default: as in training. More may help. */
  readonly k?: number | undefined;
  /** Neighbours that are read. Default `true`. */
  readonly neighbours?: NeighbourChoice | undefined;
  /** Part of each neighbour that is read. Default `both`. */
  readonly part?: NeighbourPart | undefined;
  /** Seed of the draws of `shuffled`. Default 0. */
  readonly seed?: number | undefined;
}

/** Chunk of a segment whose neighbours are sought. */
interface AskedChunk {
  readonly key: string;
  readonly query: PassageQuery;
}

/**
 * RETRO as a system that scores text. Each complete chunk of a window is a query for neighbours, which the tokens after it read. A window
 * without a complete chunk reads nothing.
 */
export class RetroSystem implements LanguageSystem {
  readonly name = 'retro';
  readonly ledger = new CostLedger();
  private readonly retro: RetroModel;
  private readonly source: PassageSource;
  private readonly database: ChunkDatabase;
  private readonly reading: Required<{ [K in keyof RetroReading]: NonNullable<RetroReading[K]> }>;
  private readonly programs = new ProgramCache();
  /** Neighbours of chunks that were asked for, since overlapping windows share chunks. */
  private readonly known = new Map<string, Int32Array>();

  /**
   * @param source source over the chunks of the database, with its leak filter, which belongs to the caller
   * @throws UsageError if the chunks of the database have another size than those of the model
   */
  constructor(retro: RetroModel, database: ChunkDatabase, source: PassageSource, reading: RetroReading = {}) {
    const { chunkTokens, neighbours } = retro.wing.config;
    if (database.chunkTokens !== chunkTokens) {
      throw new UsageError(
        `chunks of ${database.chunkTokens} tokens in the database, ${chunkTokens} in the model`,
        { help: 'cut the database into chunks of the size with which the model was trained' },
      );
    }
    const { k = neighbours, neighbours: choice = 'true', part = 'both', seed = 0 } = reading;
    if (!(Number.isSafeInteger(k) && k >= 1))
      throw new UsageError(`${option('chunkNeighbours')} must be a whole number of at least 1, found ${k}`);
    this.retro = retro;
    this.database = database;
    this.source = source;
    this.reading = { k, neighbours: choice, part, seed };
  }

  get model(): LanguageModel {
    return this.retro.base;
  }

  async score(
    segments: readonly Segment[],
    { onProgress, ...compute }: ScoreOptions = {},
  ): Promise<Float32Array[]> {
    const { chunkTokens } = this.retro.wing.config;
    const { neighbours } = this.reading;
    checkSequences(segments, this.model.decoder);
    const scores: Float32Array[] = segments.map(() => new Float32Array(0));
    const reads = (i: number) => neighbours !== 'off' && segments[i]!.ids.length >= chunkTokens;
    const all = [...segments.keys()];
    const reading = all.filter(reads);
    const plain = all.filter((i) => !reads(i));
    const total = segments.reduce((sum, { ids }) => sum + ids.length, 0);
    let done = 0;
    const tell = (of: readonly Segment[]) => {
      countReading(this.ledger, of);
      for (const { ids } of of) done += ids.length;
      onProgress?.({ stage: 'score', done, total, unit: 'tokens' });
    };

    for (const [i, { logProbabilities }] of (
      await this.model.scoreTokens(
        plain.map((i) => segments[i]!),
        compute,
      )
    ).entries())
      scores[plain[i]!] = logProbabilities;
    if (plain.length > 0) tell(plain.map((i) => segments[i]!));
    if (reading.length === 0) return scores;

    const program = await this.programs.get('retro', () => this.scoringGraph(compute.device), compute);
    const readable = reading.map((i) => segments[i]!);
    for (const pass of scoringPasses(readable)) {
      const some = pass.map((i) => readable[i]!);
      const outputs = await program.run({
        ...this.retro.weights,
        ...scoringFeeds(some),
        ...(await this.neighboursOf(some)),
      });
      for (const { index, logProbabilities } of passScores(readable, pass, outputs))
        scores[reading[index]!] = logProbabilities;
      tell(some);
    }
    return scores;
  }

  /**
   * Continues a text, token by token, with keys and values cached. The neighbours of each chunk are found when the chunk is complete, and
   * encoded once. The tokens are those that passes over the whole text would choose.
   *
   * @returns iterator of the pieces of the new text, which returns the whole at its end
   * @throws UsageError as `generate`
   */
  generate(prompt: Prompt, options: GenerationOptions = {}): AsyncGenerator<string, Generation, void> {
    if (this.reading.neighbours === 'off') return generate(this.model, prompt, options);
    return generateByPasses(this.model, prompt, options, (compute) => this.passes(compute));
  }

  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  private passes(compute: ComputeOptions): RetroPasses {
    const { retro, database, programs } = this;
    const { tokenizer } = this.model;
    return new RetroPasses(retro, {
      database,
      part: this.reading.part,
      find: async (ids) => await this.find([{ text: tokenizer.decode(ids) }]),
      program: (name, makeGraph) => programs.get(name, makeGraph, compute),
    });
  }

  private scoringGraph(device: Device | undefined): Graph {
    const graph = new Graph('retro');
    const declared = this.retro.declare(graph);
    const { decoder } = this.model;
    buildScoring(graph, {
      decoder,
      declared,
      memory: (inputs) => this.retro.memory(declared, inputs),
      device,
    });
    return graph;
  }

  /** Makes the inputs with the neighbours of each complete chunk of a pass, the first segment of which is the longest. */
  private async neighboursOf(pass: readonly Segment[]) {
    const { k, part } = this.reading;
    const { chunkTokens } = this.retro.wing.config;
    const chunks = Math.floor(pass[0]!.ids.length / chunkTokens);
    const rows = new Int32Array(pass.length * chunks * k).fill(NO_NEIGHBOUR);
    const asked = pass.map((segment) => this.chunksOf(segment));
    const missing = new Map<string, PassageQuery>();
    for (const { key, query } of asked.flat()) if (!this.known.has(key)) missing.set(key, query);
    const found = await this.find([...missing.values()]);
    for (const [i, key] of [...missing.keys()].entries())
      this.known.set(key, found.subarray(i * k, (i + 1) * k));
    for (const [text, own] of asked.entries())
      for (const [u, { key }] of own.entries()) rows.set(this.known.get(key)!, (text * chunks + u) * k);
    return neighbourFeeds(this.database, rows, { texts: pass.length, chunks, k }, part);
  }

  /** Finds k neighbours of each query; in the control those of other chunks, as many as the query itself has. */
  private async find(queries: readonly PassageQuery[]): Promise<Int32Array> {
    const { ledger, source } = this;
    const { k, neighbours } = this.reading;
    const search = (queryOf: (i: number) => PassageQuery) =>
      findNeighbours(source, queries.length, queryOf, { k, ledger });
    const { rows } = await search((i) => queries[i]!);
    ledger.add('queriedChunks', queries.length);
    ledger.add('foundNeighbours', rows.filter((row) => row !== NO_NEIGHBOUR).length);
    if (neighbours !== 'shuffled') return rows;
    const others = await search((i) => ({ ...queries[i]!, text: this.otherText(queries[i]!) }));
    return rows.map((row, i) => (row === NO_NEIGHBOUR ? NO_NEIGHBOUR : others.rows[i]!));
  }

  private chunksOf({ ids, document }: Segment): AskedChunk[] {
    const { chunkTokens } = this.retro.wing.config;
    const { tokenizer } = this.model;
    return Array.from({ length: Math.floor(ids.length / chunkTokens) }, (_, u) => {
      const tokens = ids.subarray(u * chunkTokens, (u + 1) * chunkTokens);
      const next = ids.subarray((u + 1) * chunkTokens, (u + 2) * chunkTokens);
      const text = tokenizer.decode(tokens);
      const target = next.length > 0 ? tokenizer.decode(next) : undefined;
      const key = `${document ?? ''}\n${tokens}\n${next}`;
      return {
        key,
        query: { text, ...(document !== undefined && { document }), ...(target !== undefined && { target }) },
      };
    });
  }

  /** Text of the chunk of the database that takes the place of a chunk in the control. */
  private otherText({ text }: PassageQuery): string {
    const drawn = new Int32Array(1);
    randomInts(rngKey(this.reading.seed, 0, `shuffled/${text}`), this.database.size, drawn);
    return this.database.text(drawn[0]!);
  }
}
