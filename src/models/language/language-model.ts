import { join } from 'node:path';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { objectIn } from '../../util/json-objects.ts';
import { readTokenizer } from '../folder/read-tokenizer.ts';
import { verifyLanguageModel } from '../folder/undrift-json.ts';
import { openWeights, readWeights } from '../folder/weight-files.ts';
import { checkVocabulary } from '../retriever/check-vocabulary.ts';
import { Decoder, type ModelConfig, TOKEN_STATES, type TokenState } from './decoder.ts';
import { endIdsIn, type LanguageSettings, readLanguageSettings } from './language-settings.ts';
import {
  buildScoring,
  checkSequences,
  type IndexedTokenScores,
  passScores,
  type ScoredTokens,
  scoringFeeds,
  scoringPasses,
  type TokenScores,
} from './score-tokens.ts';
import { TokenModel } from './token-model.ts';

/** Options of scoring tokens. */
export interface ScoreTokensOptions extends ComputeOptions {
  /** State that each scored token gets as its key. Default: no keys. */
  readonly keys?: TokenState;
  /** Whether each scored token gets its logit. Default false. */
  readonly targetScores?: boolean;
  /** Called after each pass, with the number of tokens that are scored so far. */
  readonly onScored?: ((tokens: number) => void) | undefined;
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
 * Language model: a causal decoder with its tokenizer and weights. It computes the likelihood
 * of texts; `generate` continues them. Training and retrieval-augmented models build on its graph functions (`declare`, `decoder`).
 */
export class LanguageModel extends TokenModel {
  /** Decoder as graph functions. */
  readonly decoder: Decoder;
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Weights by the names of `decoder.specs`: live arrays, which a learner updates in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Ids of the tokens that end a text. */
  readonly endIds: ReadonlySet<number>;
  /** Contents of the folder that the model came from, which are kept when it is saved; empty for a new model. */
  readonly settings: LanguageSettings;

  /**
   * Combines the parts of a model.
   *
   * @param options.endIds  ids of the tokens that end a text; default the tokenizer's end-of-text token
   * @param options.settings  contents of the folder that it comes from; default none
   * @throws UsageError when the tokenizer has more tokens than the decoder
   */
  constructor(
    decoder: Decoder,
    tokenizer: Tokenizer,
    weights: Readonly<Record<string, HostTensor>>,
    options: { endIds?: readonly number[] | undefined; settings?: LanguageSettings } = {},
  ) {
    super();
    checkVocabulary(tokenizer, decoder.vocabSize);
    this.decoder = decoder;
    this.tokenizer = tokenizer;
    this.weights = weights;
    this.settings = options.settings ?? {};
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
    const settings = await readLanguageSettings(folder, config);
    await verifyLanguageModel(folder);
    const reader = await openWeights(folder);
    try {
      const { headPrefix, specs } = decoder;
      const file = join(folder, 'model.safetensors');
      const weights = await readWeights(reader, specs, { file, headPrefix, onNote: options.onNote });
      return new LanguageModel(decoder, tokenizer, weights, { endIds: endIdsIn(settings), settings });
    } finally {
      await reader.close();
    }
  }

  /** Name of the matrix [V, D] of the logits. */
  get logitMatrix(): string {
    return this.decoder.output.name;
  }

  /** Specifications of all parameters, by their names in `weights`. */
  get specs(): readonly ParameterSpec[] {
    return this.decoder.specs;
  }

  /**
   * Computes log p(x_t | x_<t) of the tokens of sequences, and keys of these tokens.
   *
   * Sequences of similar length are read together, in passes of bounded memory. Only the scored tokens get logits.
   * The keys of a datastore may need more memory than there is: score its windows in groups, or use
   * `scoreTokensOneByOne`.
   *
   * @param sequences token sequences, each of which must fit the model
   * @param options.keys state that predicts each scored token: `feed-forward-input` is the choice of kNN-LM
   * @returns scores of each sequence, in the order given
   * @throws UsageError if a sequence is longer than the model reads, or has a token that the model lacks
   */
  async scoreTokens(
    sequences: readonly ScoredTokens[],
    options: ScoreTokensOptions = {},
  ): Promise<TokenScores[]> {
    const none = { logProbabilities: new Float32Array(0) };
    const all: TokenScores[] = sequences.map(() => ({
      ...none,
      ...(options.keys && { keys: none.logProbabilities }),
      ...(options.targetScores && { targetScores: none.logProbabilities }),
    }));
    for await (const { index, ...scores } of this.scoreTokensOneByOne(sequences, options))
      all[index] = scores;
    return all;
  }

  /**
   * Computes the scores of `scoreTokens` for one sequence after the other, and keeps none. Longer sequences come
   * first. Sequences without a token to score are left out.
   *
   * @throws UsageError as `scoreTokens`
   */
  async *scoreTokensOneByOne(
    sequences: readonly ScoredTokens[],
    { keys: state, targetScores = false, onScored, ...compute }: ScoreTokensOptions = {},
  ): AsyncGenerator<IndexedTokenScores> {
    if (state !== undefined && !TOKEN_STATES.includes(state)) {
      throw new UsageError(`keys: unknown state ${JSON.stringify(state)}`, {
        help: `use one of ${TOKEN_STATES.join(', ')}`,
      });
    }
    checkSequences(sequences, this.decoder);
    const name = `score/${state}${targetScores ? '/targets' : ''}`;
    const program = await this.program(name, compute, (graph, declared) => {
      buildScoring(graph, { decoder: this.decoder, declared, state, targetScores, device: compute.device });
    });
    let scored = 0;
    for (const pass of scoringPasses(sequences)) {
      const feeds = scoringFeeds(pass.map((index) => sequences[index]!));
      yield* passScores(sequences, pass, await program.run({ ...this.weights, ...feeds }));
      scored += feeds.next!.data.length;
      onScored?.(scored);
    }
  }

  /**
   * Computes Σ log p(x_t | x_<t) of token sequences, each of which must fit the model.
   *
   * @returns one number for each sequence, in nats
   * @throws UsageError as `scoreTokens`
   */
  async logLikelihoods(
    sequences: readonly ScoredTokens[],
    compute: ComputeOptions = {},
  ): Promise<Float64Array> {
    const sums = new Float64Array(sequences.length);
    for await (const { index, logProbabilities } of this.scoreTokensOneByOne(sequences, compute)) {
      for (const value of logProbabilities) sums[index]! += value;
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
}
