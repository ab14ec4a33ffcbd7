import { Graph } from '../graph/graph.ts';
import { CachedReading } from '../models/language/cached-reading.ts';
import { type GenerationOptions, generateByReading, type Prompt } from '../models/language/generate.ts';
import type { Generation } from '../models/language/generation-rows.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { checkSequences, firstScored } from '../models/language/score-tokens.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions, Device } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkWhole } from './check-number.ts';
import { type ChunkChoice, type ChunkRetrieval, randomChunks, similarChunks } from './chunk-choice.ts';
import { ChunkedText } from './chunked-text.ts';
import { countReading, type LanguageSystem, type ScoreOptions, type Segment } from './language-system.ts';
import { plainSystem } from './plain-system.ts';
import { RptModel } from './rpt.ts';
import { allowedNeighbours, type ChunkLayout, givenNeighbours, rptLayout } from './rpt-feeds.ts';
import { outputChunks, RptPasses, type RptPassesParts } from './rpt-passes.ts';
import { RptPast } from './rpt-past.ts';
import { type RptTextParts, RptTextReading } from './rpt-text-reading.ts';
import { type RptFound, RptWing } from './rpt-wing.ts';

/** Neighbours of a chunk that were read. */
export interface ChosenNeighbours {
  /** Document of the chunk, if it has a name. */
  readonly document: string | undefined;
  /** Number of the chunk in its document. */
  readonly chunk: number;
  /** Number of the first chunks of the document that it was chosen from. */
  readonly among: number;
  /** Numbers of the neighbours in the document, best first. */
  readonly neighbours: Int32Array;
}

/** Settings of an RPT system. */
export interface RptReading {
  /** Way of choosing neighbours. Default: as in training. */
  readonly retrieval?: ChunkRetrieval | undefined;
  /** Neighbours of each chunk. Default: as in training. */
  readonly k?: number | undefined;
  /** Rule of `oracle`. */
  readonly oracle?: ChunkChoice | undefined;
  /** Seed of `random`. Default 0. */
  readonly seed?: number | undefined;
  /** Called for each chunk, when its neighbours were chosen. */
  readonly onChosen?: ((chosen: ChosenNeighbours) => void) | undefined;
}

/**
 * RPT as a system that scores text. The windows of a document are read in their order, and the states of its chunks are kept: each complete
 * chunk seeks its neighbours among all chunks of the document that lie before its window, from the beginning on. A window of a document that
 * begins behind what was read starts a text of its own.
 *
 * Memory: the tokens, states and neighbours of the chunks of one document, (1 + 2 K) m D numbers a chunk.
 */
export class RptSystem implements LanguageSystem {
  readonly name = 'rpt';
  readonly ledger: CostLedger;
  readonly settings: Readonly<Record<string, unknown>>;
  private readonly rpt: RptModel;
  private readonly retrieval: ChunkRetrieval;
  private readonly choice: ChunkChoice | undefined;
  private readonly onChosen: RptReading['onChosen'];
  private readonly plain: LanguageSystem;
  private readonly programs = new ProgramCache();
  /** Document that is being read. */
  private past: RptPast | undefined;

  /** @throws UsageError for a retriever that the model or the settings do not have */
  constructor(rpt: RptModel, { k, oracle, onChosen, seed = 0, ...reading }: RptReading = {}) {
    const { config } = rpt.wing;
    const { retrieval = config.retrieval } = reading;
    if (k !== undefined) checkWhole('chunkNeighbours', k, 1);
    if (retrieval === 'learned' && config.retrieval !== 'learned') {
      throw new UsageError(
        `the model has no learned retriever: it was trained with ${option('retrieval', config.retrieval)}`,
        { help: `leave out ${option('retrieval')}, or train one with ${option('retrieval', 'learned')}` },
      );
    }
    if (retrieval === 'oracle' && !oracle) {
      throw new UsageError(`${option('retrieval', 'oracle')} needs a language model that grades chunks`, {
        help: `name one by ${option('reference')}`,
      });
    }
    if (retrieval !== 'none' && config.retrieval === 'none') {
      throw new UsageError('the model was trained without neighbours and has no use for them', {
        help: `leave out ${option('retrieval')}`,
      });
    }
    this.rpt = k === undefined ? rpt : withNeighbours(rpt, k);
    this.retrieval = retrieval;
    const choices = { bm25: similarChunks, random: randomChunks(seed), oracle };
    this.choice = retrieval === 'learned' || retrieval === 'none' ? undefined : choices[retrieval];
    this.onChosen = onChosen;
    this.plain = plainSystem(rpt.base);
    this.ledger = this.plain.ledger;
    const { neighbours, chunkTokens } = this.rpt.wing.config;
    this.settings = { retrieval, neighbours: retrieval === 'none' ? 0 : neighbours, chunkTokens };
  }

  get model(): LanguageModel {
    return this.rpt.base;
  }

  async score(
    segments: readonly Segment[],
    { onProgress, ...compute }: ScoreOptions = {},
  ): Promise<Float32Array[]> {
    if (this.retrieval === 'none') return await this.plain.score(segments, { onProgress, ...compute });
    checkSequences(segments, this.model.decoder);
    const total = segments.reduce((sum, { ids }) => sum + ids.length, 0);
    const scores: Float32Array[] = [];
    let done = 0;
    for (const [i, segment] of segments.entries()) {
      scores.push(await this.readWindow(this.pastOf(segments, i), segment, compute));
      countReading(this.ledger, [segment]);
      done += segment.ids.length;
      onProgress?.({ stage: 'score', done, total, unit: 'tokens' });
    }
    return scores;
  }

  /**
   * Continues a text, token by token. The text is read in the windows of the training, each with keys and values cached, and what the model
   * writes is a part of it: neighbours of a chunk are sought when the chunk is complete. The tokens are those that scoring the whole text gives
   * the highest probability. A text may be longer than the window. Where windows do not overlap, the last token of a window predicts the first of
   * the next, which scoring leaves out.
   *
   * @returns iterator of the pieces of the new text, which returns the whole at its end
   * @throws UsageError as `generate`, and where neighbours are chosen by a rule that knows the next chunk (`oracle`)
   */
  generate(prompt: Prompt, options: GenerationOptions = {}): AsyncGenerator<string, Generation, void> {
    if (this.retrieval === 'oracle') throw nextChunkUnknown();
    const { tokenizer, endIds, decoder } = this.model;
    const { vocabSize } = decoder;
    return generateByReading(
      { tokenizer, endIds, decoder: { vocabSize, maxTokens: undefined } },
      prompt,
      options,
      (ids, compute) => RptTextReading.begin(this.textReading(options, compute), ids),
    );
  }

  async dispose(): Promise<void> {
    await this.programs.dispose();
    await this.plain.dispose();
  }

  /** Makes the parts of a text that is read token by token. */
  private textReading({ signal }: GenerationOptions, compute: ComputeOptions): RptTextParts {
    const { rpt, programs, model } = this;
    const past = this.newText(new Int32Array(0), { document: undefined, offset: 0 });
    const { window, stride } = rpt.wing.config;
    const retrieves = this.retrieval !== 'none';
    return {
      ...{ window, stride, text: past.text },
      begin: async (ids, start) => {
        const parts: RptPassesParts = {
          ...{ past, start, learned: this.retrieval === 'learned' },
          neighbourFeeds: (layout) => this.neighbourFeeds(past, layout),
          add: (layout, outputs) => this.addChunks(past, layout, outputs),
          program: (name, makeGraph) => programs.get(name, makeGraph, compute),
        };
        const passes = retrieves ? { passes: new RptPasses(rpt, parts) } : {};
        return await CachedReading.begin(model, [ids], { ...passes, ...compute });
      },
      passOver: async (ids, start) => {
        signal?.throwIfAborted();
        if (retrieves) await this.readWindow(past, { ids, from: ids.length - 1, start }, compute);
      },
    };
  }

  /** Returns what is known of the document of a segment, with all of its tokens that the segments from there on have. */
  private pastOf(segments: readonly Segment[], index: number): RptPast {
    const { document, start = 0, ids } = segments[index]!;
    const { chunkTokens } = this.rpt.wing.config;
    const goesOn =
      this.past !== undefined &&
      document !== undefined &&
      document === this.past.document &&
      start > this.past.offset &&
      start <= this.past.offset + this.past.text.length;
    if (!goesOn) this.past = this.newText(Int32Array.from(ids), { document, offset: start });
    const past = this.past!;
    if ((start - past.offset) % chunkTokens !== 0) {
      throw new UsageError(
        `windows every ${start - past.offset} tokens, where the model has chunks of ${chunkTokens}`,
        { help: `give a ${option('stride')} that is a multiple of ${chunkTokens}` },
      );
    }
    for (let i = index; i < segments.length; i++) {
      const next = segments[i]!;
      if (next.document !== document || document === undefined || next.start === undefined) break;
      const from = past.offset + past.text.length - next.start;
      if (from < 0 || next.start < start) break;
      if (from < next.ids.length) past.text.extend(next.ids.subarray(from));
    }
    return past;
  }

  /** Begins a text. */
  private newText(
    ids: Int32Array,
    of: { readonly document: string | undefined; readonly offset: number },
  ): RptPast {
    const { config } = this.rpt.wing;
    const { tokenizer, decoder } = this.model;
    const { chunkTokens } = config;
    return new RptPast(new ChunkedText(ids, { tokenizer, chunkTokens, name: of.document ?? '' }), {
      ...of,
      ...{ config, hidden: decoder.hiddenSize, learned: this.retrieval === 'learned' },
    });
  }

  /** Reads a window, and returns the log-probabilities of its tokens from `from` on. */
  private async readWindow(past: RptPast, segment: Segment, compute: ComputeOptions): Promise<Float32Array> {
    const window = { ids: segment.ids, start: (segment.start ?? 0) - past.offset };
    const before = past.layout(window.start);
    const layout = rptLayout([{ windows: [window], known: past.known }], this.rpt.wing.config, before);
    const program = await this.programs.get('rpt', () => this.graph(compute.device), compute);
    const outputs = await program.run({
      ...this.rpt.weights,
      ...layout.feeds,
      ...past.feeds(),
      ...past.listFeeds(before),
      ...(await this.neighbourFeeds(past, layout)),
      ...scoredFeeds(segment),
    });
    this.addChunks(past, layout, outputs);
    return float32(outputs.logProbabilities).slice();
  }

  /** Makes the inputs that choose the neighbours of new chunks. */
  private async neighbourFeeds(
    past: RptPast,
    layout: ChunkLayout,
  ): Promise<Readonly<Record<string, HostTensor>>> {
    if (!this.choice) return { 'chunks/allowed': allowedNeighbours(layout) };
    const { neighbours } = this.rpt.wing.config;
    const lists = await Promise.all(
      layout.chunks.map(({ chunk, among }) => this.choice!(past.text, chunk, among, neighbours)),
    );
    const columns = lists.map((list) => list.map((chunk) => layout.offsets[0]! + chunk));
    return givenNeighbours(columns, layout, neighbours);
  }

  /** Keeps the new chunks of a pass, and tells which neighbours they have. */
  private addChunks(
    past: RptPast,
    { chunks, offsets }: ChunkLayout,
    outputs: Readonly<Record<string, HostTensor>>,
  ): void {
    const before = past.offset / this.rpt.wing.config.chunkTokens;
    for (const [i, { chunk, among }] of chunks.entries()) {
      const neighbours = chosenIn(outputs, i, offsets[0]!);
      this.ledger.add('queriedChunks', 1);
      this.ledger.add('foundNeighbours', neighbours.length);
      this.onChosen?.({
        ...{ document: past.document, chunk: before + chunk, among },
        neighbours: neighbours.map((each) => before + each),
      });
    }
    past.add(outputs, chunks.length);
  }

  private graph(device: Device | undefined): Graph {
    const { wing } = this.rpt;
    const graph = new Graph('rpt');
    const declared = this.rpt.declare(graph);
    const learned = this.retrieval === 'learned';
    const inputs = wing.inputs(graph, { learned, given: !learned, past: true });
    const tokens = {
      places: graph.input('places', 'i64', ['rows']),
      ids: graph.input('next', 'i64', ['rows']),
    };
    let found: RptFound | undefined;
    const memory = wing.memory(declared.get, inputs, (results) => {
      found = results;
    });
    const { logProbabilities } = this.model.decoder.scoreTokens(declared.get, inputs.tokens, tokens, {
      ...{ memory, inference: (device ?? 'cpu') === 'cpu' },
    });
    graph.output('logProbabilities', logProbabilities);
    outputChunks(graph, found!);
    return graph;
  }
}

/** Makes the error for neighbours that are chosen by what comes next, where it is not written yet. */
export const nextChunkUnknown = (): UsageError =>
  new UsageError(
    `${option('retrieval', 'oracle')} knows the chunk that comes next, which is not written yet`,
    {
      help: `choose another ${option('retrieval')}`,
    },
  );

/** The model with another number of neighbours. */
const withNeighbours = ({ base, wing, weights }: RptModel, neighbours: number): RptModel =>
  new RptModel(
    base,
    new RptWing(base.decoder, { ...wing.config, neighbours }),
    Object.fromEntries(wing.specs.map(({ name }) => [name, weights[name]!])),
  );

/** Makes the inputs of the tokens that are scored. */
function scoredFeeds(segment: Segment): Record<string, HostTensor> {
  const [places, next]: bigint[][] = [[], []];
  for (let t = firstScored(segment); t < segment.ids.length; t++) {
    places!.push(BigInt(t - 1));
    next!.push(BigInt(segment.ids[t]!));
  }
  const list = (values: bigint[]) => hostTensor('i64', [values.length], BigInt64Array.from(values));
  return { places: list(places!), next: list(next!) };
}

/** Numbers in the text of the neighbours of a new chunk. */
function chosenIn(
  { 'chunks/chosen': chosen, 'chunks/valid': valid }: Readonly<Record<string, HostTensor>>,
  chunk: number,
  offset: number,
): Int32Array {
  const K = chosen!.dims[1]!;
  const numbers = chosen!.data as BigInt64Array;
  const found = Array.from({ length: K }, (_, k) => chunk * K + k).filter(
    (at) => (valid!.data as Float32Array)[at] === 1,
  );
  return Int32Array.from(found, (at) => Number(numbers[at]!) - offset);
}
