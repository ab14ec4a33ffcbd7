import { Graph } from '../graph/graph.ts';
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
import { allowedNeighbours, givenNeighbours, rptLayout } from './rpt-feeds.ts';
import { RptPast } from './rpt-past.ts';
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
  private document: string | undefined;
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

  async dispose(): Promise<void> {
    await this.programs.dispose();
    await this.plain.dispose();
  }

  /** Returns what is known of the document of a segment, with all of its tokens that the segments from there on have. */
  private pastOf(segments: readonly Segment[], index: number): RptPast {
    const { document, start = 0, ids } = segments[index]!;
    const { chunkTokens } = this.rpt.wing.config;
    const goesOn =
      this.past !== undefined &&
      document !== undefined &&
      document === this.document &&
      start > this.past.offset &&
      start <= this.past.offset + this.past.text.length;
    if (!goesOn) {
      this.document = document;
      const { tokenizer } = this.model;
      this.past = new RptPast(
        new ChunkedText(Int32Array.from(ids), { tokenizer, chunkTokens, name: document ?? '' }),
        {
          ...{ offset: start, config: this.rpt.wing.config, hidden: this.model.decoder.hiddenSize },
          learned: this.retrieval === 'learned',
        },
      );
    }
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

  /** Reads a window. */
  private async readWindow(past: RptPast, segment: Segment, compute: ComputeOptions): Promise<Float32Array> {
    const { config } = this.rpt.wing;
    const learned = this.retrieval === 'learned';
    const window = { ids: segment.ids, start: (segment.start ?? 0) - past.offset };
    const layout = rptLayout([{ windows: [window], known: past.known }], config, past.layout);
    const { chunks, offsets } = layout;
    const lists = await Promise.all(
      this.choice
        ? chunks.map(({ chunk, among }) => this.choice!(past.text, chunk, among, config.neighbours))
        : [],
    );
    const columns = lists.map((list) => list.map((chunk) => offsets[0]! + chunk));
    const program = await this.programs.get('rpt', () => this.graph(compute.device), compute);
    const outputs = await program.run({
      ...this.rpt.weights,
      ...layout.feeds,
      ...past.feeds(),
      ...(learned
        ? { 'chunks/allowed': allowedNeighbours(layout) }
        : givenNeighbours(columns, layout, config.neighbours)),
      ...scoredFeeds(segment),
    });
    for (const [i, { chunk, among }] of chunks.entries())
      this.tell(past, { chunk, among, neighbours: chosenIn(outputs, i, offsets[0]!) });
    past.add(outputs, chunks.length);
    return float32(outputs.logProbabilities).slice();
  }

  private tell({ offset }: RptPast, { chunk, among, neighbours }: Omit<ChosenNeighbours, 'document'>): void {
    this.ledger.add('queriedChunks', 1);
    this.ledger.add('foundNeighbours', neighbours.length);
    const before = offset / this.rpt.wing.config.chunkTokens;
    this.onChosen?.({
      ...{ document: this.document, chunk: before + chunk, among },
      neighbours: neighbours.map((each) => before + each),
    });
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
    for (const part of ['states', 'pooled', 'chosen', 'valid', 'lists'] as const)
      graph.output(`chunks/${part}`, found![part]);
    if (found!.keys) graph.output('chunks/keys', found!.keys);
    return graph;
  }
}

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
