import { join } from 'node:path';
import { Graph } from '../../graph/graph.ts';
import { argMax } from '../../graph/ops.ts';
import { nextTokenLogProbabilities } from '../../losses/next-token.ts';
import { type DeclaredParameters, declareParameters, type ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor } from '../../runtime/host-tensor.ts';
import type { Program } from '../../runtime/program.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { objectIn } from '../../util/json-objects.ts';
import type { TokenInputs } from '../architectures/architecture.ts';
import { readTokenizer } from '../folder/read-tokenizer.ts';
import { openWeights, readWeights } from '../folder/weight-files.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { Decoder, type ModelConfig } from './decoder.ts';

/** Maximum number of logits in one pass: 256 MB. */
const SCORES_PER_PASS = 1 << 26;

/** Token sequence to score. Tokens before position `from`, and the first token, are context only. */
export interface ScoredTokens {
  /** Token ids of the sequence. */
  readonly ids: ArrayLike<number>;
  /** Position of the first token to score. Default 1. */
  readonly from?: number;
}

/** Likelihood of a text under a language model. */
export interface TextLikelihood {
  /** Log-likelihood Σ log p(x_t | x_<t), in nats. */
  logLikelihood: number;
  /** Number of tokens scored: all except the first. */
  tokens: number;
  /** exp(−logLikelihood / tokens) */
  perplexity: number;
}

/**
 * Language model: a causal decoder with its tokenizer and weights. It continues texts and computes their
 * likelihood. Training and retrieval-augmented models build on its graph functions (`declare`, `decoder`).
 */
export class LanguageModel {
  /** Decoder as graph functions. */
  readonly decoder: Decoder;
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Weights by the names of `decoder.specs`: live arrays, which a learner updates in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Ids of the tokens that end a text. */
  readonly endIds: ReadonlySet<number>;
  private readonly programs = new ProgramCache();

  /**
   * Combines the parts of a model.
   *
   * @param options.endIds  ids of the tokens that end a text; default the tokenizer's end-of-text token
   * @throws UsageError when the tokenizer has more tokens than the decoder
   */
  constructor(
    decoder: Decoder,
    tokenizer: Tokenizer,
    weights: Readonly<Record<string, HostTensor>>,
    options: { endIds?: readonly number[] } = {},
  ) {
    if (tokenizer.vocabSize > decoder.vocabSize) {
      throw new UsageError(
        `the tokenizer has ${tokenizer.vocabSize} tokens but the embedding table only ${decoder.vocabSize} rows`,
        { help: 'the tokenizer and the weights come from different models' },
      );
    }
    this.decoder = decoder;
    this.tokenizer = tokenizer;
    this.weights = weights;
    const { eos } = tokenizer.specialIds;
    this.endIds = new Set(options.endIds ?? (eos === undefined ? [] : [eos]));
  }

  /**
   * Reads a Hugging Face folder: config.json, model.safetensors (whole or in shards) and tokenizer.json.
   *
   * @throws UsageError when the folder holds no decoder
   * @throws DataError that names the file when one is missing or damaged
   */
  static async load(
    folder: string,
    options: { onNote?: (note: string) => void } = {},
  ): Promise<LanguageModel> {
    const configFile = join(folder, 'config.json');
    const config = objectIn(await readJson(configFile), configFile);
    const decoder = new Decoder(config as ModelConfig, configFile);
    const tokenizer = await readTokenizer(folder, { config, isWhole: false, onNote: options.onNote });
    const reader = await openWeights(folder);
    try {
      const { headPrefix, specs } = decoder;
      const file = join(folder, 'model.safetensors');
      const weights = await readWeights(reader, specs, { file, headPrefix, onNote: options.onNote });
      const ends = [config.eos_token_id].flat().filter((id) => Number.isSafeInteger(id)) as number[];
      return new LanguageModel(decoder, tokenizer, weights, ends.length > 0 ? { endIds: ends } : {});
    } finally {
      await reader.close();
    }
  }

  /** Specifications of all parameters, by their names in `weights`. */
  get specs(): readonly ParameterSpec[] {
    return this.decoder.specs;
  }

  /**
   * Declares all weights as inputs of a graph and as targets of differentiation. The whole table of tokens is an
   * input, so the ids that are fed are its rows (see `tokenInputs` and `wholeTableFeeds`).
   *
   * @param options.prefix prefix of the model in a graph that it shares with others (see `joinParameters`),
   *   default none
   */
  declare(graph: Graph, options: { prefix?: string } = {}): DeclaredParameters {
    return declareParameters(graph, this.specs, options);
  }

  /**
   * Continues a text greedily, with the most likely token each time, until the end-of-text token. There is no
   * cache of keys and values: every token reads the whole text again.
   *
   * @param text  beginning of the text; '' to start from the start token
   * @param options.tokens  maximum number of new tokens
   * @returns the text with its continuation
   * @throws UsageError when there is nothing to start from, or the text is longer than the model reads
   */
  async continueText(
    text: string,
    { tokens, ...compute }: { tokens: number } & ComputeOptions,
  ): Promise<string> {
    const { before } = this.tokenizer.wrapper;
    const ids = [...before, ...this.tokenizer.encodeRaw(text)];
    const most = Math.min(ids.length + tokens, this.decoder.maxTokens ?? Number.POSITIVE_INFINITY);
    if (ids.length === 0) {
      throw new UsageError('an empty text, and no token with which texts start', {
        help: 'give the beginning of a text',
      });
    }
    if (ids.length > most) throw this.tooLong(ids.length);
    const program = await this.program('next', compute, (graph, p, inputs) => {
      graph.output('next', argMax(this.decoder.lastLogits(p, inputs), { axis: 1 }));
    });
    while (ids.length < most) {
      const { next } = await program.run({ ...this.weights, ...feeds([ids]) });
      const id = Number(next!.data[0]);
      if (this.endIds.has(id)) break;
      ids.push(id);
    }
    return this.tokenizer.decode(ids);
  }

  /**
   * Computes Σ log p(x_t | x_<t) of token sequences, each of which must fit the model.
   *
   * @returns one number for each sequence, in nats
   * @throws UsageError when a sequence is longer than the model reads
   */
  async logLikelihoods(
    sequences: readonly ScoredTokens[],
    compute: ComputeOptions = {},
  ): Promise<Float64Array> {
    const longest = sequences.find(({ ids }) => ids.length > (this.decoder.maxTokens ?? Infinity));
    if (longest) throw this.tooLong(longest.ids.length);
    const program = await this.program('score', compute, (graph, p, inputs) => {
      graph.output('scores', nextTokenLogProbabilities(this.decoder.logits(p, inputs), inputs.ids));
    });
    const sums = new Float64Array(sequences.length);
    // Longest first, so that a pass holds sequences of similar length.
    const order = [...sequences.keys()].sort((a, b) => sequences[b]!.ids.length - sequences[a]!.ids.length);
    for (let start = 0; start < order.length; ) {
      const T = sequences[order[start]!]!.ids.length;
      if (T < 2) break;
      const rows = Math.max(1, Math.floor(SCORES_PER_PASS / (T * this.decoder.vocabSize)));
      const picked = order.slice(start, start + rows);
      const { scores } = await program.run({
        ...this.weights,
        ...feeds(picked.map((row) => sequences[row]!.ids)),
      });
      const values = float32(scores);
      for (const [i, row] of picked.entries()) {
        const { ids, from = 1 } = sequences[row]!;
        for (let t = Math.max(from, 1); t < ids.length; t++) sums[row]! += values[i * (T - 1) + t - 1]!;
      }
      start += picked.length;
    }
    return sums;
  }

  /**
   * Computes the likelihood of a text, special tokens included.
   *
   * A text longer than `windowTokens` is read in overlapping windows. Each token is scored once, with at
   * least `windowTokens − strideTokens` tokens before it (fewer at the very beginning).
   *
   * @param options.windowTokens  length of a window; default what the model reads, at most 1,024
   * @param options.strideTokens  distance of windows; default half a window
   * @throws UsageError when windows do not overlap
   */
  async likelihood(
    text: string,
    options: { windowTokens?: number; strideTokens?: number } & ComputeOptions = {},
  ): Promise<TextLikelihood> {
    const { windowTokens = Math.min(this.decoder.maxTokens ?? 1024, 1024), ...rest } = options;
    const { strideTokens = Math.ceil(windowTokens / 2), ...compute } = rest;
    if (!(windowTokens >= 2 && strideTokens >= 1 && strideTokens < windowTokens)) {
      throw new UsageError(
        `windows of ${windowTokens} tokens every ${strideTokens} tokens: each must begin before the last one ends`,
      );
    }
    const ids = this.tokenizer.encode(text);
    const sequences: ScoredTokens[] = [];
    for (let scored = 0; scored < ids.length; ) {
      const start = scored === 0 ? 0 : scored - (windowTokens - strideTokens);
      const end = Math.min(start + windowTokens, ids.length);
      sequences.push({ ids: ids.subarray(start, end), from: scored - start });
      scored = end;
    }
    const sums = await this.logLikelihoods(sequences, compute);
    const logLikelihood = sums.reduce((a, b) => a + b, 0);
    const tokens = Math.max(ids.length - 1, 0);
    return { logLikelihood, tokens, perplexity: tokens === 0 ? 1 : Math.exp(-logLikelihood / tokens) };
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  private program(
    name: string,
    compute: ComputeOptions,
    build: (graph: Graph, p: DeclaredParameters['get'], inputs: TokenInputs) => void,
  ): Promise<Program> {
    const makeGraph = () => {
      const graph = new Graph(name);
      const declared = this.declare(graph);
      build(graph, declared.get, tokenInputs(declared, 'texts'));
      return graph;
    };
    return this.programs.get(name, makeGraph, compute);
  }

  private tooLong(tokens: number): UsageError {
    return new UsageError(`a text of ${tokens} tokens, where the model reads ${this.decoder.maxTokens}`, {
      help: 'cut it into shorter ones',
    });
  }
}

/**
 * Lays sequences side by side, the first of which is the longest, padded at the end with token 0. The mask
 * hides the padding.
 */
function feeds(sequences: readonly ArrayLike<number>[]): Record<string, HostTensor> {
  const [batch, tokens] = [sequences.length, sequences[0]!.length];
  const [ids, mask] = [new Int32Array(batch * tokens), new Float32Array(batch * tokens)];
  for (const [row, sequence] of sequences.entries()) {
    ids.set(sequence, row * tokens);
    mask.fill(1, row * tokens, row * tokens + sequence.length);
  }
  return wholeTableFeeds({ texts: { ids, mask, batch, tokens } });
}
