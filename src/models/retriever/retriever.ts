import { multiplyDims } from '../../graph/dims.ts';
import { Graph } from '../../graph/graph.ts';
import { gather } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Adapter, loraParameters, withAdapters } from '../../nn/lora.ts';
import {
  type DeclaredParameters,
  declareParameters,
  initialValue,
  type ParameterSpec,
  type Parameters,
  ROWS_INPUT,
} from '../../nn/parameters.ts';
import { keepLong } from '../../runtime/device-memory.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { TokenFrame } from '../../text/crops.ts';
import { TokenStore } from '../../text/token-store.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { ShapeError, UsageError } from '../../util/errors.ts';
import type { Progress } from '../../util/progress.ts';
import { encodeRows } from './encode-rows.ts';
import { Encoder, type EncoderConfig } from './encoder.ts';
import { TokenFeeds } from './token-feeds.ts';

/** What is longer than this, a shelf of books, is cut all the same. */
const MAX_WHOLE_TOKENS = 2 ** 20;

/** The two sides of a dual encoder. */
export type Side = 'query' | 'document';

export interface RetrieverConfig {
  encoder: EncoderConfig;
  /** Whether queries and documents have one encoder or one each, of the same shape. */
  towers: 'shared' | 'separate';
  /** Put before every text of the side, e.g. `query: `. */
  prompts: Readonly<Record<Side, string>>;
  /** Longer texts are cut, closing special token kept. */
  maxTokens: Readonly<Record<Side, number>>;
}

/** Weights by name: `encoder/<name>` for shared towers, `query/<name>` and `document/<name>` for separate ones. */
export type Weights = Readonly<Record<string, HostTensor>>;

/** Which parameters a training run moves, where not all; see `planTuning`. Names as in `Weights`. */
export interface Tuning {
  /** Stay what they are. */
  readonly frozen: ReadonlySet<string>;
  /** Matrices that get an adapter, and its rank and α. */
  readonly lora?: { readonly rank: number; readonly alpha: number; readonly weights: ReadonlySet<string> };
}

/**
 * A dual encoder: tokenizer, encoder, weights, prompts. Text in, vectors out, for queries and for documents; and the part of a
 * training graph that embeds a side.
 */
export class Retriever {
  readonly config: RetrieverConfig;
  readonly encoder: Encoder;
  readonly tokenizer: Tokenizer;
  /** The live arrays, adapters included: a learner moves those that are trained in place. */
  readonly weights: Weights;
  /** Every parameter, under its name in `weights`. */
  readonly specs: readonly ParameterSpec[];
  /** LoRA: what is added to which matrices, by name. Programs add it up; `storedWeights` gives the sums. */
  readonly adapters: ReadonlyMap<string, Adapter>;
  /** Names of weights that were not given, and have initial values. */
  readonly fresh: ReadonlySet<string>;
  /** Updates behind these weights. */
  trainedSteps: number;
  private readonly programs = new ProgramCache();
  private readonly feeder: TokenFeeds;

  constructor(
    config: RetrieverConfig,
    tokenizer: Tokenizer,
    options: { weights?: Weights; seed?: number; trainedSteps?: number; tuning?: Tuning } = {},
  ) {
    this.encoder = new Encoder(config.encoder);
    this.config = { ...config, encoder: this.encoder.config };
    this.tokenizer = tokenizer;
    this.trainedSteps = options.trainedSteps ?? 0;
    this.feeder = new TokenFeeds(this.encoder.vocabSize);
    if (tokenizer.vocabSize > this.encoder.vocabSize) {
      throw new UsageError(
        `the tokenizer has ${tokenizer.vocabSize} tokens but the embedding table only ${this.encoder.vocabSize} rows`,
        { help: 'the tokenizer and the weights come from different models' },
      );
    }
    const limit = this.encoder.maxTokens;
    for (const [side, tokens] of Object.entries(config.maxTokens)) {
      if (limit !== undefined && tokens > limit) {
        throw new UsageError(
          `${side === 'query' ? 'queries' : 'documents'} of ${tokens} tokens are longer than the encoder's ${limit} positions`,
          {
            help: `use --max-${side === 'query' ? 'query' : 'doc'}-tokens ${limit} or less`,
          },
        );
      }
    }
    const { specs, adapters } = parameters(config, this.encoder, options.tuning);
    this.specs = specs;
    this.adapters = adapters;
    const given = options.weights ?? {};
    this.fresh = new Set(specs.flatMap(({ name }) => (given[name] ? [] : [name])));
    this.weights = Object.fromEntries(
      specs.map((spec) => [spec.name, checked(spec, given[spec.name], options.seed ?? 0)]),
    );
  }

  get dimension(): number {
    return this.encoder.dimension;
  }

  /** Where the side's weights lie: `encoder`, `query` or `document`. */
  prefix(side: Side): string {
    return this.config.towers === 'shared' ? 'encoder' : side;
  }

  /**
   * Adds to a graph the embedding of a batch of one side, whose tokens are the inputs `<input>/ids` i64 and `<input>/mask` f32 of
   * shape [<input>, <input>Tokens].
   *
   * @param options.packed  leaves padding out of the layers (see `TextRows`), by further inputs that `TokenFeeds` makes
   * @returns  f32[<input>, D]
   */
  embed(
    graph: Graph,
    p: Parameters,
    side: Side,
    options: { input: string; dropoutRatio?: number; packed?: boolean },
  ): Tensor {
    return this.embedSides(graph, p, { [options.input]: side }, options)[options.input]!;
  }

  /** The same of several batches, by the names of their inputs. Those of one tower go through its layers together. */
  embedSides(
    graph: Graph,
    p: Parameters,
    sides: Readonly<Record<string, Side>>,
    options: { dropoutRatio?: number; packed?: boolean } = {},
  ): Record<string, Tensor> {
    const { dropoutRatio = 0 } = options;
    const packed = options.packed && this.encoder.packs;
    const inputs = Object.entries(sides).map(([input, side]) => {
      const places = multiplyDims(input, `${input}Tokens`);
      const shape = [input, `${input}Tokens`];
      const ids = graph.input(`${input}/ids`, 'i64', shape);
      const mask = graph.input(`${input}/mask`, 'f32', shape);
      return {
        input,
        prefix: this.prefix(side),
        tokens: {
          ids,
          mask,
          ...(packed && {
            packing: {
              places: graph.input(`${input}/places`, 'i64', [`${input}Places`]),
              slots: graph.input(`${input}/slots`, 'i64', [places]),
              kept: graph.input(`${input}/kept`, 'f32', [places]),
            },
          }),
          ...(dropoutRatio > 0 && { dropoutKeys: graph.input(`${input}/dropout`, 'u32', [input]) }),
        },
      };
    });
    const embeddings: Record<string, Tensor> = {};
    for (const prefix of new Set(inputs.map((each) => each.prefix))) {
      const own = inputs.filter((each) => each.prefix === prefix);
      const weights: Parameters = (name) => p(`${prefix}/${name}`);
      const made = graph.scope(own.map(({ input }) => input).join('+'), () =>
        this.encoder.embedAll(
          weights,
          own.map(({ tokens }) => tokens),
          { dropoutRatio },
        ),
      );
      for (const [i, { input }] of own.entries()) embeddings[input] = made[i]!;
    }
    return embeddings;
  }

  /** Declares all weights as inputs of a graph, lookup tables by the batch's distinct rows (see `TokenFeeds`). */
  declare(graph: Graph, specs: readonly ParameterSpec[] = this.specs): DeclaredParameters {
    const rows = graph.input(ROWS_INPUT, 'i64', [ROWS_INPUT]);
    const { get, targets } = declareParameters(graph, specs, (table) => gather(table, rows));
    return { get: withAdapters(get, this.adapters), targets };
  }

  /** Token ids of many texts of one side, prompt and special tokens included. */
  tokenize(
    side: Side,
    count: number,
    textOf: (row: number) => string,
    options: { onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): TokenStore {
    return TokenStore.build(this.tokenizer, count, textOf, {
      maxTokens: this.config.maxTokens[side],
      prefix: this.config.prompts[side],
      specialTokens: this.encoder.specialTokens,
      ...options,
    });
  }

  /**
   * Prompt and special tokens of a side, for texts whose tokens are at hand: between `before` and `after` there is room for so many.
   * @throws UsageError where there is no room
   */
  frame(side: Side): TokenFrame {
    const wrapper = this.encoder.specialTokens ? this.tokenizer.wrapper : { before: [], after: [] };
    const before = Int32Array.of(...wrapper.before, ...this.tokenizer.encodeRaw(this.config.prompts[side]));
    const after = Int32Array.from(wrapper.after);
    const room = this.config.maxTokens[side] - before.length - after.length;
    if (room < 1) {
      throw new UsageError(
        `${this.config.maxTokens[side]} tokens leave no room for a text beside the prompt and special tokens of a ${side}`,
        { help: `raise --max-${side === 'query' ? 'query' : 'doc'}-tokens` },
      );
    }
    return { before, after, room };
  }

  /** Token ids of whole texts, without prompts and special tokens: what crops are cut from. */
  tokenizeWhole(
    count: number,
    textOf: (row: number) => string,
    options: { onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): TokenStore {
    return TokenStore.build(this.tokenizer, count, textOf, {
      maxTokens: MAX_WHOLE_TOKENS,
      specialTokens: false,
      ...options,
    });
  }

  /** Embeds texts. @returns  row-major f32[texts, D] */
  async encode(side: Side, texts: readonly string[], options: EncodeOptions = {}): Promise<Float32Array> {
    return this.encodeTokens(
      side,
      this.tokenize(side, texts.length, (row) => texts[row]!),
      options,
    );
  }

  /**
   * Embeds rows of a token store, longest first so that a pass holds texts of like length.
   * @returns  row-major f32[rows, D], in the order of the rows
   */
  async encodeTokens(side: Side, store: TokenStore, options: EncodeOptions = {}): Promise<Float32Array> {
    const { rows = Uint32Array.from({ length: store.rows }, (_, row) => row) } = options;
    const program = await this.programs.get(this.prefix(side), () => this.encodeGraph(side), options);
    const D = this.dimension;
    const out = options.out ?? new Float32Array(rows.length * D);
    if (out.length !== rows.length * D)
      throw new ShapeError(`encode: the buffer needs ${rows.length} × ${D} elements`);
    const weights = this.sideWeights(side, options.weights);
    // Its own weights stay on the device, from pass to pass and from call to call.
    if (options.device && !options.weights) keepLong(Object.values(weights), options.device);
    const encoder = { program, weights, feeder: this.feeder, padId: this.padId };
    await encodeRows(encoder, { store, rows }, out, (done) =>
      options.onProgress?.({ stage: 'encode', done, total: rows.length, unit: 'texts' }),
    );
    return out;
  }

  /** The graph that `encodeRows` runs for a side: weights and tokens of `texts` in, `embedding` f32[texts, D] out. */
  encodeGraph(side: Side): Graph {
    const prefix = this.prefix(side);
    const graph = new Graph(`encode-${prefix}`);
    const p = this.declare(
      graph,
      this.specs.filter((spec) => spec.name.startsWith(`${prefix}/`)),
    );
    graph.output('embedding', this.embed(graph, p.get, side, { input: 'texts' }));
    return graph;
  }

  /** Token that fills up shorter texts of a batch. */
  get padId(): number {
    return this.tokenizer.specialIds.pad ?? 0;
  }

  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  /** The weights that embed a side, by name. @param others  stand in the place of the retriever's own, where there are any */
  sideWeights(side: Side, others: Weights = {}): Record<string, HostTensor> {
    const prefix = `${this.prefix(side)}/`;
    const all = Object.entries({ ...this.weights, ...others });
    return Object.fromEntries(all.filter(([name]) => name.startsWith(prefix)));
  }

  /** Those of them that are trained: all that tells two moments of a run apart. */
  trainedWeights(side: Side): Record<string, HostTensor> {
    const prefix = `${this.prefix(side)}/`;
    const own = this.specs.filter(({ name, frozen }) => !frozen && name.startsWith(prefix));
    return Object.fromEntries(own.map(({ name }) => [name, this.weights[name]!]));
  }
}

export interface EncodeOptions extends ComputeOptions {
  /** Rows of the store to embed; default all. */
  rows?: Uint32Array;
  /** Weights in place of the retriever's own of the same names and shapes: an average or a snapshot of them. */
  weights?: Weights;
  /** Receives the vectors; default a new array. */
  out?: Float32Array;
  /** Called after every forward pass. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

const prefixes = (config: RetrieverConfig): string[] =>
  config.towers === 'shared' ? ['encoder'] : ['query', 'document'];

/** The encoder's parameters under their names in each tower, and adapters after them. */
function parameters(config: RetrieverConfig, encoder: Encoder, tuning: Tuning | undefined) {
  const own = prefixes(config).flatMap((prefix) =>
    encoder.specs.map((spec): ParameterSpec => {
      const name = `${prefix}/${spec.name}`;
      return { ...spec, name, ...(tuning?.frozen.has(name) && { frozen: true }) };
    }),
  );
  const { lora } = tuning ?? {};
  const adapted = own.flatMap((spec) =>
    lora?.weights.has(spec.name) ? [{ of: spec.name, ...loraParameters(spec, lora) }] : [],
  );
  return {
    specs: [...own, ...adapted.flatMap(({ specs }) => specs)],
    adapters: new Map(adapted.map(({ of, adapter }) => [of, adapter])),
  };
}

/** A weight as given, or a fresh one; both towers of a separate pair start alike, as copies of one encoder do. */
function checked(spec: ParameterSpec, given: HostTensor | undefined, seed: number): HostTensor {
  if (!given) {
    const own = { ...spec, name: spec.name.slice(spec.name.indexOf('/') + 1) };
    return hostTensor('f32', spec.shape, initialValue(own, seed));
  }
  if (
    given.dtype !== 'f32' ||
    given.dims.length !== spec.shape.length ||
    given.dims.some((d, i) => d !== spec.shape[i])
  ) {
    throw new ShapeError(
      `weight ${spec.name} must be f32[${spec.shape.join(', ')}], is ${given.dtype}[${given.dims.join(', ')}]`,
      { help: 'config.json and model.safetensors come from different models' },
    );
  }
  return given;
}
