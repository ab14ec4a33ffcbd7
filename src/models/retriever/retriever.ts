import { Graph } from '../../graph/graph.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Adapter, withAdapters } from '../../nn/lora.ts';
import {
  type DeclaredParameters,
  declareParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import { type Tuning, tunedParameters } from '../../nn/tuning.ts';
import { keepLong } from '../../runtime/device-memory.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { TokenFrame } from '../../text/crops.ts';
import { TokenStore, type TokenStoreOptions } from '../../text/token-store.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { ShapeError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { underPrefix } from '../../util/prefixes.ts';
import { checkVocabulary } from './check-vocabulary.ts';
import { encodeBlocks } from './encode-blocks.ts';
import { checkEncodeDtype, type EncodeDtype, needsF32 } from './encode-dtype.ts';
import type { RowEncoder } from './encode-rows.ts';
import { Encoder } from './encoder.ts';
import { type EncoderInputs, encoderFeeds } from './encoder-inputs.ts';
import { promptTokens } from './prompt-tokens.ts';
import type { EncodeOptions, RetrieverConfig, Weights } from './retriever-options.ts';
import { checkedWeight, parameters } from './retriever-parameters.ts';
import type { RowSharing } from './row-sharing.ts';
import type { Side } from './side.ts';
import { storedWeights } from './stored-weights.ts';
import { tokenInputs } from './token-inputs.ts';
import { wholeEncoder } from './whole-encoder.ts';

/** Longest whole text, in tokens: a shelf of books. Longer texts are truncated. */
const MAX_WHOLE_TOKENS = 2 ** 20;

export type { Side } from './side.ts';

/** Settings of `Retriever.tokenize`. */
export type TokenizeOptions = Pick<TokenStoreOptions, 'spill' | 'onProgress'>;

export type { EncodeOptions, RetrieverConfig, Weights } from './retriever-options.ts';

/**
 * Dual encoder: tokenizer, encoder, weights and prompts. It embeds queries and documents, and builds the part
 * of a training graph that embeds a side.
 */
export class Retriever {
  /** Configuration, with the encoder's defaults filled in. */
  readonly config: RetrieverConfig;
  /** Encoder as graph functions, of both towers. */
  readonly encoder: Encoder;
  /** Tokenizer of both sides. */
  readonly tokenizer: Tokenizer;
  /** Dtype in which texts are encoded. */
  readonly encodeDtype: EncodeDtype;
  /** Live weights, adapters included; a learner updates the trained ones in place. */
  readonly weights: Weights;
  /** All parameters, under their names in `weights`. */
  readonly specs: readonly ParameterSpec[];
  /**
   * LoRA adapters by the name of the adapted matrix. Programs add adapters to the matrices; `storedWeights`
   * returns the sums.
   */
  readonly adapters: ReadonlyMap<string, Adapter>;
  /** Names of weights that were not given and have initial values. */
  readonly fresh: ReadonlySet<string>;
  /** Number of updates that the weights have had. */
  trainedSteps: number;
  private readonly programs = new ProgramCache();
  /** Functions that make token inputs, by `encoderKey`. */
  private readonly feeds = new Map<string, RowEncoder['feeds']>();
  private sharing: RowSharing | undefined;

  constructor(
    { encodeDtype = 'f32', ...config }: RetrieverConfig,
    tokenizer: Tokenizer,
    options: { weights?: Weights; seed?: number; trainedSteps?: number; tuning?: Tuning } = {},
  ) {
    this.encoder = new Encoder(config.encoder);
    checkEncodeDtype(encodeDtype, this.encoder.packs);
    this.encodeDtype = encodeDtype;
    this.config = {
      ...config,
      encoder: this.encoder.config,
      ...(encodeDtype !== 'f32' && { encodeDtype }),
    };
    this.tokenizer = tokenizer;
    this.trainedSteps = options.trainedSteps ?? 0;
    checkVocabulary(tokenizer, this.encoder.vocabSize);
    const limit = this.encoder.maxTokens;
    for (const [side, tokens] of Object.entries(config.maxTokens)) {
      if (limit !== undefined && tokens > limit) {
        throw new UsageError(
          `${side === 'query' ? 'queries' : 'documents'} of ${tokens} tokens are longer than the encoder's ${limit} positions`,
          {
            help: `use ${option(side === 'query' ? 'maxQueryTokens' : 'maxDocTokens', limit)} or less`,
          },
        );
      }
    }
    const { specs, adapters } = tunedParameters(parameters(config, this.encoder), options.tuning);
    this.specs = specs;
    this.adapters = adapters;
    const given = options.weights ?? {};
    this.fresh = new Set(specs.flatMap(({ name }) => (given[name] ? [] : [name])));
    this.weights = Object.fromEntries(
      specs.map((spec) => [spec.name, checkedWeight(spec, given[spec.name], options.seed ?? 0)]),
    );
  }

  /** Embedding size D. */
  get dimension(): number {
    return this.encoder.dimension;
  }

  /** Prefix of the names of the side's weights: `encoder`, `query` or `document`. */
  prefix(side: Side): string {
    return this.config.towers === 'shared' ? 'encoder' : side;
  }

  /**
   * Number of tokens at the beginning of a side's texts that pooling leaves out: those of the prompt with the
   * special tokens before it, if the model pools without the prompt, else 0.
   */
  unpooledTokens(side: Side): number {
    const { encoder, prompts, maxTokens } = this.config;
    if (encoder.includePrompt !== false || prompts[side] === '' || !this.encoder.specialTokens) return 0;
    return promptTokens(this.tokenizer, prompts[side], maxTokens[side]);
  }

  /**
   * Adds to a graph the embedding of a batch of one side. The tokens are inputs (see `tokenInputs`).
   *
   * @param declared the retriever's parameters, as `declare` returns them
   * @param options.input name of the batch
   * @param options.packed  lets the layers skip padding (see `TextRows`), with further inputs that
   *   `TokenFeeds` makes
   * @returns f32[<input>, D]
   */
  embed(
    declared: DeclaredParameters,
    side: Side,
    options: { input: string; dropoutRatio?: number; packed?: boolean },
  ): Tensor {
    return this.embedSides(declared, { [options.input]: side }, options)[options.input]!;
  }

  /**
   * Adds to a graph the embeddings of several batches, like `embed`. Batches of one tower go through its layers
   * together.
   *
   * @param sides side of each batch, by the name of the batch
   * @returns f32[<input>, D] by the names of the batches
   */
  embedSides(
    declared: DeclaredParameters,
    sides: Readonly<Record<string, Side>>,
    options: { dropoutRatio?: number; packed?: boolean } = {},
  ): Record<string, Tensor> {
    const { graph, get: p, prefix: model } = declared;
    const { dropoutRatio = 0 } = options;
    const packed = options.packed && this.encoder.packs;
    const inputs = Object.entries(sides).map(([input, side]) => ({
      input,
      prefix: this.prefix(side),
      tokens: {
        ...tokenInputs(declared, input, { packed, dropout: dropoutRatio > 0 }),
        unpooled: this.unpooledTokens(side),
      },
    }));
    const embeddings: Record<string, Tensor> = {};
    for (const prefix of new Set(inputs.map((each) => each.prefix))) {
      const own = inputs.filter((each) => each.prefix === prefix);
      const weights: Parameters = (name) => p(`${prefix}/${name}`);
      const scope = underPrefix(model, own.map(({ input }) => input).join('+'));
      const made = graph.scope(scope, () =>
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

  /**
   * Declares all weights as inputs of a graph. Lookup tables are declared by the distinct rows of the batch
   * (see `TokenFeeds`).
   *
   * @param options.specs parameters to declare; default: all of the retriever
   * @param options.prefix prefix of the retriever in a graph that it shares with other models (see
   *   `joinParameters`), default none
   * @throws UsageError when the retriever encodes in another dtype than f32
   */
  declare(
    graph: Graph,
    { specs = this.specs, prefix = '' }: { specs?: readonly ParameterSpec[]; prefix?: string } = {},
  ): DeclaredParameters {
    if (this.encodeDtype !== 'f32')
      throw needsF32('neither training nor any other use of its layers works with them');
    const declared = declareParameters(graph, specs, { prefix });
    return { ...declared, get: withAdapters(declared.get, this.adapters) };
  }

  /** Tokenizes many texts of one side, with prompt and special tokens. */
  tokenize(
    side: Side,
    count: number,
    textOf: (row: number) => string,
    options: TokenizeOptions = {},
  ): TokenStore {
    return TokenStore.build(this.tokenizer, count, textOf, {
      maxTokens: this.config.maxTokens[side],
      prefix: this.config.prompts[side],
      specialTokens: this.encoder.specialTokens,
      ...options,
    });
  }

  /**
   * Returns prompt and special tokens of a side, for texts that are already tokenized, and the room left
   * between `before` and `after`.
   *
   * @throws UsageError when there is no room
   */
  frame(side: Side): TokenFrame {
    const wrapper = this.encoder.specialTokens ? this.tokenizer.wrapper : { before: [], after: [] };
    const before = Int32Array.of(...wrapper.before, ...this.tokenizer.encodeRaw(this.config.prompts[side]));
    const after = Int32Array.from(wrapper.after);
    const room = this.config.maxTokens[side] - before.length - after.length;
    if (room < 1) {
      throw new UsageError(
        `${this.config.maxTokens[side]} tokens leave no room for a text beside the prompt and special tokens of a ${side}`,
        { help: `raise ${option(side === 'query' ? 'maxQueryTokens' : 'maxDocTokens')}` },
      );
    }
    return { before, after, room };
  }

  /** Tokenizes whole texts without prompts and special tokens, to cut crops from. */
  tokenizeWhole(count: number, textOf: (row: number) => string, options: TokenizeOptions = {}): TokenStore {
    return TokenStore.build(this.tokenizer, count, textOf, {
      maxTokens: MAX_WHOLE_TOKENS,
      specialTokens: false,
      ...options,
    });
  }

  /**
   * Embeds texts.
   *
   * @returns row-major f32[texts, D]
   */
  async encode(side: Side, texts: readonly string[], options: EncodeOptions = {}): Promise<Float32Array> {
    return this.encodeTokens(
      side,
      this.tokenize(side, texts.length, (row) => texts[row]!),
      options,
    );
  }

  /**
   * Embeds rows of a token store in blocks of at most 1,024 rows and 200,000 tokens (`blockEnds`). In a block, a pass holds texts of similar
   * length. The bits of an embedding depend on its block, the weights and the number of threads.
   *
   * @returns row-major f32[rows, D], in the order of the rows
   * @throws ShapeError when `options.out` has another size
   * @throws UsageError when a retriever that encodes in int8 gets other weights, or another device than the CPU
   */
  async encodeTokens(side: Side, store: TokenStore, options: EncodeOptions = {}): Promise<Float32Array> {
    const { rows = Uint32Array.from({ length: store.rows }, (_, row) => row) } = options;
    const D = this.dimension;
    const out = options.out ?? new Float32Array(rows.length * D);
    if (out.length !== rows.length * D)
      throw new ShapeError(`encode: the buffer needs ${rows.length} × ${D} elements`);
    const onRows = (done: number) =>
      options.onProgress?.({ stage: 'encode', done, total: rows.length, unit: 'texts' });
    if (this.sharing && !options.weights && options.device !== undefined && options.device !== 'cpu') {
      throw new UsageError(`several processes encode on the CPU, not on ${options.device}`, {
        help: `use ${option('workers', 1)}`,
      });
    }
    if (this.sharing && !options.weights && rows.length >= this.sharing.leastRows)
      await this.sharing.encode(side, { store, rows }, out, onRows);
    else await encodeBlocks(await this.rowEncoder(side, options), { store, rows }, out, onRows);
    return out;
  }

  /** Compiles the encoder of a side. With int8 products, it holds the weights of the time of the first call. */
  private async rowEncoder(side: Side, options: EncodeOptions): Promise<RowEncoder> {
    const { device = 'cpu' } = options;
    if (this.encodeDtype !== 'f32' && device !== 'cpu') throw needsF32(`${device} has no kernels for them`);
    const weights = this.encodeWeights(side, options.weights);
    const key = this.encoderKey(side);
    const program = await this.programs.get(key, () => this.encodeGraph(side), options, this.encodeDtype);
    // The retriever's own weights stay on the device between passes and calls.
    if (options.device && !options.weights) keepLong(Object.values(weights), options.device);
    let feeds = this.feeds.get(key);
    if (!feeds) {
      feeds = encoderFeeds(program, this.encodeInputs(side));
      this.feeds.set(key, feeds);
    }
    return { program, weights, feeds, padId: this.padId };
  }

  /**
   * Lets others encode many texts, such as several processes (`shareEncoding`). They are disposed of with this retriever.
   *
   * @param sharing  encoder of many texts; the one before is disposed of
   */
  share(sharing: RowSharing): void {
    void this.sharing?.dispose();
    this.sharing = sharing;
  }

  /** Name of the encoder of a side: the tower, and what pooling leaves out. Sides of one name have equal encoders. */
  encoderKey(side: Side): string {
    return `${this.prefix(side)}/${this.unpooledTokens(side)}`;
  }

  /** Describes the token inputs of the encoder that `encodeGraph` builds. */
  encodeInputs(side: Side): EncoderInputs {
    return this.encodeDtype === 'f32'
      ? { kind: 'rows', vocabSize: this.encoder.vocabSize }
      : { kind: 'whole', unpooled: this.unpooledTokens(side) };
  }

  /**
   * Returns the weights that the encoder of `encodeGraph` has as inputs, by name: none with int8 products, which are constants.
   *
   * @param others  weights that replace the retriever's own of the same names
   * @throws UsageError when other weights are given to a retriever that encodes in int8
   */
  encodeWeights(side: Side, others?: Weights): Record<string, HostTensor> {
    if (this.encodeDtype === 'f32') return this.sideWeights(side, others);
    if (others) throw needsF32('they are those of its own weights');
    return {};
  }

  /**
   * Builds the graph that `encodeRows` runs for a side. Inputs: `encodeWeights`, and tokens as `encodeInputs` says. Output: f32[texts, D].
   */
  encodeGraph(side: Side): Graph {
    if (this.encodeDtype !== 'f32')
      return wholeEncoder(this.prefix(side), this.encoder, storedWeights(this, side), { tokens: false });
    const prefix = this.prefix(side);
    const graph = new Graph(`encode-${prefix}`);
    const declared = this.declare(graph, {
      specs: this.specs.filter((spec) => spec.name.startsWith(`${prefix}/`)),
    });
    graph.output('embedding', this.embed(declared, side, { input: 'texts' }));
    return graph;
  }

  /** Id of the token that pads shorter texts of a batch. */
  get padId(): number {
    return this.tokenizer.specialIds.pad ?? 0;
  }

  /** Frees the compiled programs, and ends processes that encode for this retriever. */
  async dispose(): Promise<void> {
    await this.sharing?.dispose();
    this.sharing = undefined;
    await this.programs.dispose();
  }

  /**
   * Returns the weights that embed a side, by name.
   *
   * @param others  weights that replace the retriever's own of the same names
   */
  sideWeights(side: Side, others: Weights = {}): Record<string, HostTensor> {
    const prefix = `${this.prefix(side)}/`;
    const all = Object.entries({ ...this.weights, ...others });
    return Object.fromEntries(all.filter(([name]) => name.startsWith(prefix)));
  }

  /** Returns this retriever with other weights in place of those of the same names: a view to store, which is not disposed of. */
  withWeights(weights: Weights): Retriever {
    return Object.assign(Object.create(this) as Retriever, { weights: { ...this.weights, ...weights } });
  }

  /** Returns the weights of a side that are trained: all that differs between two moments of a run. */
  trainedWeights(side: Side): Record<string, HostTensor> {
    const prefix = `${this.prefix(side)}/`;
    const own = this.specs.filter(({ name, frozen }) => !frozen && name.startsWith(prefix));
    return Object.fromEntries(own.map(({ name }) => [name, this.weights[name]!]));
  }
}
