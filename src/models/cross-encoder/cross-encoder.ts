import { Graph } from '../../graph/graph.ts';
import { reshape } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type DeclaredParameters, declareParameters, type ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { type PaddedPairs, PairEncoder } from '../../text/pair-encoder.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';
import { architectures } from '../architectures/all.ts';
import type { Architecture } from '../architectures/architecture.ts';
import { checkVocabulary } from '../retriever/check-vocabulary.ts';
import { passes } from '../retriever/encode-rows.ts';
import { TokenFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { type ClassificationHead, classificationHead, headDropout } from './classification-head.ts';

/** Name of the function from the logit of a pair to its score. */
export type ScoreActivation = 'sigmoid' | 'identity';

/** Functions from the logit of a pair to its score. */
export const SCORE_ACTIVATIONS: readonly ScoreActivation[] = ['sigmoid', 'identity'];

/** Configuration of a cross-encoder, apart from its weights. */
export interface CrossEncoderConfig {
  /** Content of the architecture's config.json, with its `model_type`. */
  readonly model: Readonly<Record<string, unknown>> & { readonly model_type: string };
  /** Function from logit to score: `sigmoid` gives probabilities, `identity` the logits themselves. */
  readonly activation: ScoreActivation;
  /** Longest pair, in tokens, special tokens included. */
  readonly maxTokens: number;
  /** Whether the token types of the tokenizer are fed to the model; else all are 0. */
  readonly tokenTypes: boolean;
}

/** Two texts that are scored together: usually a query and a document. */
export type TextPair = readonly [first: string, second: string];

/** Settings of scoring. */
export interface ScoreOptions extends ComputeOptions {
  /** Called with progress in pairs, in stage `score`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Document at its place in a ranking. */
export interface RankedDocument {
  /** Number of the document in the list that was given. */
  readonly document: number;
  /** Score, as `score` gives it. */
  readonly score: number;
}

/** Token ids of two texts, without special tokens. */
export type TokenPair = readonly [first: ArrayLike<number>, second: ArrayLike<number>];

/**
 * Cross-encoder: a transformer that reads two texts together and gives one score, the logit of a classification head of one label.
 * It scores pairs, ranks documents for a query, and builds the part of a training graph that scores a batch of pairs.
 */
export class CrossEncoder {
  /** Configuration, with the architecture's defaults filled in. */
  readonly config: CrossEncoderConfig;
  /** Tokenizer of both texts. */
  readonly tokenizer: Tokenizer;
  /** Parameters: those of the encoder, then those of the head. */
  readonly specs: readonly ParameterSpec[];
  /** Live weights by the names of `specs`; a learner updates them in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Joins the tokens of two texts. */
  readonly pairs: PairEncoder;
  /** Classification head. */
  readonly head: ClassificationHead;
  /** Prefix of the encoder's parameters in a weight file. */
  readonly headPrefix: string;
  /** Number of updates that the weights have had. */
  trainedSteps: number;
  private readonly architecture: Architecture<unknown>;
  private readonly feeder: TokenFeeds;
  private readonly programs = new ProgramCache();

  /**
   * Combines the parts of a cross-encoder.
   *
   * @param parts.weights  weights by the names of `crossEncoderParts(…).specs`
   * @throws UsageError for an architecture without such a head, and for pairs that are too long for it
   */
  constructor(
    config: CrossEncoderConfig,
    tokenizer: Tokenizer,
    {
      weights,
      trainedSteps = 0,
      file = 'config.json',
    }: { weights: Readonly<Record<string, HostTensor>>; trainedSteps?: number; file?: string },
  ) {
    const { architecture, head, model, specs } = crossEncoderParts(config.model, file);
    this.config = { ...config, model: { ...model, ...head.fields } as CrossEncoderConfig['model'] };
    this.tokenizer = tokenizer;
    this.trainedSteps = trainedSteps;
    this.architecture = architecture;
    this.head = head;
    this.headPrefix = architecture.headPrefix ?? '';
    this.specs = specs;
    this.weights = weights;
    const limit = architecture.maxTokens(model);
    if (limit !== undefined && config.maxTokens > limit) {
      throw new UsageError(
        `pairs of ${config.maxTokens} tokens are longer than the model's ${limit} positions`,
        {
          help: `use ${option('maxTokens', limit)} or less`,
        },
      );
    }
    const vocabSize = architecture.vocabSize(model);
    checkVocabulary(tokenizer, vocabSize);
    this.pairs = new PairEncoder(tokenizer, { maxTokens: config.maxTokens });
    this.feeder = new TokenFeeds(vocabSize);
  }

  /** Content of config.json, with the fields that other programs expect. */
  get configFile(): Readonly<Record<string, unknown>> {
    const { model } = this.config;
    return { ...this.architecture.huggingFaceFields?.(model), ...model };
  }

  /** Declares all weights as inputs of a graph and as targets of differentiation. */
  declare(graph: Graph): DeclaredParameters {
    return declareParameters(graph, this.specs);
  }

  /**
   * Adds to a graph the logits of a batch of pairs, whose tokens are inputs (see `feeds`).
   *
   * @param declared  the parameters, as `declare` returns them
   * @param options.dropoutRatio  share of hidden units dropped; above 0 there is a further input `pairs/dropout`. Default 0
   * @returns f32[pairs]
   */
  logits(declared: DeclaredParameters, { dropoutRatio = 0 }: { dropoutRatio?: number } = {}): Tensor {
    const inputs = tokenInputs(declared, BATCH, {
      packed: true,
      types: this.config.tokenTypes,
      dropout: dropoutRatio > 0,
    });
    const { graph, get } = declared;
    return graph.scope(BATCH, () => {
      const model = this.config.model;
      const [made] = this.architecture.forward(model, get, [inputs], { dropoutRatio });
      const drop = headDropout(dropoutRatio, inputs.dropoutKeys);
      const logits = this.head.logits(get, { hidden: made!.hidden, mask: inputs.mask, drop });
      return reshape(logits, [inputs.mask.shape[0]!]);
    });
  }

  /** Makes the token inputs of a batch of pairs: `pairs/ids`, `pairs/mask`, `pairs/types` and those that let layers skip padding. */
  feeds(pairs: readonly TokenPair[]): Record<string, HostTensor> {
    const padded: PaddedPairs = this.pairs.pad(pairs, this.tokenizer.specialIds.pad ?? 0);
    return {
      ...this.feeder.feeds({ [BATCH]: padded }, { packed: true }),
      ...(this.config.tokenTypes && {
        [`${BATCH}/types`]: hostTensor('i64', [padded.batch, padded.tokens], padded.types),
      }),
    };
  }

  /**
   * Scores pairs of texts.
   *
   * @returns f32[pairs]: the logits through the activation of the model
   */
  async score(pairs: readonly TextPair[], options: ScoreOptions = {}): Promise<Float32Array> {
    return this.activated(await this.scoreTexts(pairs, options));
  }

  /**
   * Ranks documents for a query, best first; equal scores keep the order of the list.
   *
   * @param options.topK  documents to return. Default all
   */
  async rank(
    query: string,
    documents: readonly string[],
    { topK = documents.length, ...options }: ScoreOptions & { topK?: number } = {},
  ): Promise<RankedDocument[]> {
    const logits = await this.scoreTexts(
      documents.map((document): TextPair => [query, document]),
      options,
    );
    const scores = this.activated(logits);
    // By the logits, because the sigmoid of large ones rounds to 1.
    return [...documents.keys()]
      .sort((a, b) => logits[b]! - logits[a]! || a - b)
      .slice(0, topK)
      .map((document) => ({ document, score: scores[document]! }));
  }

  /** Computes the logits of pairs of texts, f32[pairs]. */
  async scoreTexts(pairs: readonly TextPair[], options: ScoreOptions = {}): Promise<Float32Array> {
    // The same texts come in many pairs: each is tokenised once.
    const known = new Map<string, Int32Array>();
    const encoded = (text: string): Int32Array => {
      const ids = known.get(text) ?? this.pairs.encodeText(text);
      known.set(text, ids);
      return ids;
    };
    return await this.scoreTokens(
      pairs.length,
      (i) => {
        const [first, second] = pairs[i]!;
        const both: TokenPair = [encoded(first), encoded(second)];
        return both[0].length > this.pairs.room && both[1].length > this.pairs.room
          ? this.pairs.encodeTexts(first, second)
          : both;
      },
      options,
    );
  }

  /**
   * Computes the logits of pairs of tokenised texts, longest first, so that a pass holds pairs of similar length.
   *
   * @param count  number of pairs
   * @param pairOf  returns the token ids of both texts of a pair, as `pairs.encodeText` gives them
   * @returns f32[count], in the order of the pairs
   */
  async scoreTokens(
    count: number,
    pairOf: (i: number) => TokenPair,
    { onProgress, ...compute }: ScoreOptions = {},
  ): Promise<Float32Array> {
    const program = await this.programs.get('score', () => this.scoreGraph(), compute);
    const logits = new Float32Array(count);
    const lengths = Int32Array.from({ length: count }, (_, i) => {
      const [first, second] = pairOf(i);
      return this.pairs.lengthOf(first.length, second.length);
    });
    let done = 0;
    for (const picked of passes(lengths)) {
      const outputs = await program.run({
        ...this.weights,
        ...this.feeds(Array.from(picked, (i) => pairOf(i))),
      });
      const found = float32(outputs.logits, 'logits');
      for (const [place, i] of picked.entries()) logits[i] = found[place]!;
      done += picked.length;
      onProgress?.({ stage: 'score', done, total: count, unit: 'pairs' });
    }
    return logits;
  }

  /** Applies the activation of the model to logits, f32[n]. */
  activated(logits: Float32Array): Float32Array {
    return this.config.activation === 'identity' ? logits : logits.map((x) => 1 / (1 + Math.exp(-x)));
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  private scoreGraph(): Graph {
    const graph = new Graph('score-pairs');
    graph.output('logits', this.logits(this.declare(graph)));
    return graph;
  }
}

/** Name of the batch of pairs in graphs. */
const BATCH = 'pairs';

/**
 * Reads the parts of a cross-encoder from its configuration.
 *
 * @throws UsageError for an architecture without a head for one label
 * @throws DataError for a field of the configuration that is damaged or not supported
 */
export function crossEncoderParts(config: CrossEncoderConfig['model'], file: string) {
  const architecture = architectures.get(config.model_type) as Architecture<unknown> | undefined;
  const model = architecture?.parseConfig(config, file);
  const size = architecture && model ? architecture.hiddenSize(model) : 0;
  const head = classificationHead(config.model_type, { size, config, file });
  const specs = [...architecture!.parameters(model), ...head.inEncoder, ...head.outside];
  return { architecture: architecture!, head, model: model as Readonly<Record<string, unknown>>, specs };
}
