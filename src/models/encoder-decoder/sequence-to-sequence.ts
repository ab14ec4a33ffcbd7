import { join } from 'node:path';
import type { SafetensorsReader } from '../../io/safetensors.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { DataError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { objectIn } from '../../util/json-objects.ts';
import { readTokenizer } from '../folder/read-tokenizer.ts';
import { verifyLanguageModel } from '../folder/undrift-json.ts';
import { openWeights, readWeights } from '../folder/weight-files.ts';
import type { Decoder, ModelConfig } from '../language/decoder.ts';
import { endIdsIn, type LanguageSettings, readLanguageSettings } from '../language/language-settings.ts';
import type { TokenScores } from '../language/score-tokens.ts';
import { TokenModel } from '../language/token-model.ts';
import { checkVocabulary } from '../retriever/check-vocabulary.ts';
import { EncoderDecoder } from './encoder-decoder.ts';
import { attentionToInputs, scoreEachInput, scoreExamples } from './score-targets.ts';
import type { SequenceExample } from './sequence-batch.ts';

/**
 * Sequence-to-sequence model: an encoder-decoder with its tokenizer and weights. It computes the likelihood of targets given inputs;
 * `generateTargets` writes them. With several inputs for one target it is a Fusion-in-Decoder reader. Training builds on its graph
 * functions (`declare`, `network`).
 */
export class SequenceToSequenceModel extends TokenModel {
  /** Encoder and decoder as graph functions. */
  readonly network: EncoderDecoder;
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Weights by the names of `specs`: live arrays, which a learner updates in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Ids of the tokens that end a target. */
  readonly endIds: ReadonlySet<number>;
  /** Contents of the folder that the model came from, which are kept when it is saved; empty for a new model. */
  readonly settings: LanguageSettings;

  /**
   * Combines the parts of a model.
   *
   * @param options.endIds  ids of the tokens that end a target; default the tokenizer's end-of-text token
   * @param options.settings  contents of the folder that it comes from; default none
   * @throws UsageError when the tokenizer has more tokens than the network
   */
  constructor(
    network: EncoderDecoder,
    tokenizer: Tokenizer,
    weights: Readonly<Record<string, HostTensor>>,
    options: { endIds?: readonly number[] | undefined; settings?: LanguageSettings } = {},
  ) {
    super();
    checkVocabulary(tokenizer, network.decoder.vocabSize);
    this.network = network;
    this.tokenizer = tokenizer;
    this.weights = weights;
    this.settings = options.settings ?? {};
    const { eos } = tokenizer.specialIds;
    this.endIds = new Set(options.endIds ?? (eos === undefined ? [] : [eos]));
  }

  /**
   * Reads a Hugging Face folder: config.json, model.safetensors (whole or in shards) and tokenizer.json.
   *
   * Whether the matrix of the logits is the table of tokens follows from the weights, as in transformers 5: it is a matrix of its own if
   * the file has `lm_head.weight` with other values.
   *
   * @throws UsageError when the folder holds no encoder-decoder
   * @throws DataError that names the file when one is missing or damaged
   */
  static async load(
    folder: string,
    options: { onNote?: (note: string) => void } = {},
  ): Promise<SequenceToSequenceModel> {
    const configFile = join(folder, 'config.json');
    const config = objectIn(await readJson(configFile), configFile);
    const stated = new EncoderDecoder(config as ModelConfig, configFile);
    const tokenizer = await readTokenizer(folder, { config, isWhole: false, onNote: options.onNote });
    const settings = await readLanguageSettings(folder, config);
    await verifyLanguageModel(folder);
    const reader = await openWeights(folder);
    try {
      const file = join(folder, 'model.safetensors');
      const { network, copies } = await networkInFile(stated, { configFile, reader, file });
      const isCopy = (name: string) => copies.has(name);
      const weights = await readWeights(reader, network.specs, { file, isCopy, onNote: options.onNote });
      const endIds = endIdsIn(settings);
      return new SequenceToSequenceModel(network, tokenizer, weights, { endIds, settings });
    } finally {
      await reader.close();
    }
  }

  /** Decoder of the network. */
  get decoder(): Decoder {
    return this.network.decoder;
  }

  /** Name of the matrix [V, D] of the logits. */
  get logitMatrix(): string {
    return this.decoder.output.name;
  }

  /** Specifications of all parameters, by their names in `weights`. */
  get specs(): readonly ParameterSpec[] {
    return this.network.specs;
  }

  /**
   * Tokenises an input text, with the special tokens that the tokenizer puts around texts.
   *
   * @param options.specialTokens  whether special tokens that are written in the text, such as `<extra_id_0>`, count as such. Default
   *   false: the text is that of others (see `Tokenizer.encodeOrdinary`)
   */
  inputIds(text: string, options: { specialTokens?: boolean } = {}): number[] {
    const { before, after } = this.tokenizer.wrapper;
    return [...before, ...this.ownIds(text, options), ...after];
  }

  /**
   * Tokenises a target text: its tokens and an end token, if the model has one.
   *
   * @param options.specialTokens  as for `inputIds`
   */
  targetIds(text: string, options: { specialTokens?: boolean } = {}): number[] {
    const [end] = this.endIds;
    return [...this.ownIds(text, options), ...(end === undefined ? [] : [end])];
  }

  /**
   * Computes log p(y_t | y_<t, inputs) of all tokens of targets.
   *
   * Inputs and targets of similar length are read together, in passes of bounded memory. Several inputs are read as in Fusion-in-Decoder.
   *
   * @returns scores of each example, in the order given
   * @throws UsageError if an input has no tokens, or a sequence has a token that the model lacks
   */
  async scoreTokens(
    examples: readonly SequenceExample[],
    compute: ComputeOptions = {},
  ): Promise<TokenScores[]> {
    const scores = await scoreExamples(this, examples, compute);
    return scores.map((logProbabilities) => ({ logProbabilities }));
  }

  /**
   * Computes log p(y_t | y_<t, …) of the target once for each input: reading this input alone (`alone`), or all inputs but this one
   * (`left-out`). Each input is encoded once.
   *
   * @returns scores of each example for each of its inputs
   * @throws UsageError as `scoreTokens`
   */
  async scoreEachInput(
    examples: readonly SequenceExample[],
    how: 'alone' | 'left-out',
    compute: ComputeOptions = {},
  ): Promise<TokenScores[][]> {
    const scores = await scoreEachInput(this, examples, how, compute);
    return scores.map((each) => each.map((logProbabilities) => ({ logProbabilities })));
  }

  /**
   * Computes how much the target attends to each input: Σ_k a_tk ‖v_k‖ over the tokens k of the input, with cross-attention a and values
   * v, as the mean over layers and heads and over the tokens of the target (Izacard et al. 2023, arXiv:2208.03299).
   *
   * @returns for each example a number for each input
   * @throws UsageError as `scoreTokens`
   */
  attentionToInputs(
    examples: readonly SequenceExample[],
    compute: ComputeOptions = {},
  ): Promise<Float64Array[]> {
    return attentionToInputs(this, examples, compute);
  }

  private ownIds(text: string, { specialTokens = false }: { specialTokens?: boolean }): Int32Array {
    return specialTokens ? this.tokenizer.encodeRaw(text) : this.tokenizer.encodeOrdinary(text);
  }
}

/**
 * Finds out whether the matrix of the logits is the table of tokens: it is not, if the file has such a matrix with other values.
 *
 * @param stated network as the config has it
 * @returns the network, and the names of tensors that repeat the table
 * @throws DataError if the two sides have different tables
 */
async function networkInFile(
  stated: EncoderDecoder,
  { configFile, reader, file }: { configFile: string; reader: SafetensorsReader; file: string },
): Promise<{ network: EncoderDecoder; copies: ReadonlySet<string> }> {
  const as = (tied: boolean) =>
    new EncoderDecoder({ ...stated.config, tie_word_embeddings: tied }, configFile);
  const [tied, untied] = [as(true), as(false)];
  const table = tied.decoder.output.name;
  const present = [...stated.tableCopies, untied.decoder.output.name].filter((name) =>
    reader.tensors.has(name),
  );
  const original = present.length > 0 && reader.tensors.has(table) ? await bytesIn(reader, table) : undefined;
  const copies = new Set<string>();
  for (const name of present) {
    if (original?.equals(await bytesIn(reader, name))) copies.add(name);
    else if (name === untied.decoder.output.name) return { network: untied, copies };
    else {
      throw new DataError(`'${name}' and '${table}' differ, and the two sides share their table of tokens`, {
        file,
        help: 'a model with a table for each side is not supported',
      });
    }
  }
  return { network: tied, copies };
}

const bytesIn = async (reader: SafetensorsReader, name: string): Promise<Buffer> => {
  const { data } = await reader.read(name);
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
};
