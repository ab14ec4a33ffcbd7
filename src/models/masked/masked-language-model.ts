import { join } from 'node:path';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { type PairPart, pairTemplate } from '../../text/pair-template.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { objectIn, optionalJson } from '../../util/json-objects.ts';
import { requireConfig } from '../folder/no-model.ts';
import { readTokenizer } from '../folder/read-tokenizer.ts';
import { MASKED_LANGUAGE_MODEL, UNDRIFT_JSON, verifyLanguageModel } from '../folder/undrift-json.ts';
import { openWeights, readWeights, storedShape } from '../folder/weight-files.ts';
import type { ModelConfig } from '../language/decoder.ts';
import { TokenModel } from '../language/token-model.ts';
import { checkVocabulary } from '../retriever/check-vocabulary.ts';
import { MaskedNetwork } from './masked-network.ts';
import { fillMasked, type MaskedSequence, scoreMasked } from './score-masked.ts';

/**
 * Masked language model: an encoder that reads a whole text and predicts the tokens behind masks, such as BERT, with its tokenizer and
 * weights. Training builds on its graph functions (`declare`, `network`).
 */
export class MaskedLanguageModel extends TokenModel {
  /** Encoder and head as graph functions. */
  readonly network: MaskedNetwork;
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Weights by the names of `specs`: live arrays, which a learner updates in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Id of the mask. */
  readonly maskId: number;
  /** Mask as it is written in texts, such as `[MASK]`. */
  readonly maskToken: string;
  /** Way in which two texts are joined. */
  readonly pairs: readonly PairPart[];

  /**
   * Combines the parts of a model.
   *
   * @param options.file  file of the tokenizer, for messages
   * @throws UsageError when the tokenizer has more tokens than the network, or no mask
   */
  constructor(
    network: MaskedNetwork,
    tokenizer: Tokenizer,
    weights: Readonly<Record<string, HostTensor>>,
    { file = 'tokenizer.json' }: { file?: string } = {},
  ) {
    super();
    checkVocabulary(tokenizer, network.vocabSize);
    const { mask } = tokenizer.specialIds;
    const token = [...tokenizer.specialTokens].find((each) => tokenizer.tokenId(each) === mask);
    if (mask === undefined || token === undefined) {
      throw new UsageError(`the vocabulary in ${file} has no token for a mask, such as [MASK]`, {
        help: 'use the tokenizer that the model was trained with',
      });
    }
    this.network = network;
    this.tokenizer = tokenizer;
    this.weights = weights;
    this.maskId = mask;
    this.maskToken = token;
    this.pairs = pairTemplate(tokenizer.toJson(), file);
  }

  /**
   * Reads a Hugging Face folder of a model for masked language modelling, such as BertForMaskedLM: config.json, model.safetensors (whole
   * or in shards) and tokenizer.json.
   *
   * @param options.newHead  seed of the initial weights of a new head for an encoder without one, such as an encoder of sentences. Default:
   *   such an encoder is refused
   * @throws UsageError when the folder holds another kind of model
   * @throws DataError that names the file when one is missing or damaged, and for an encoder without its head
   */
  static async load(
    folder: string,
    { newHead, onNote }: { newHead?: number; onNote?: (note: string) => void } = {},
  ): Promise<MaskedLanguageModel> {
    const configFile = join(folder, 'config.json');
    requireConfig(configFile);
    const config = objectIn(await readJson(configFile), configFile);
    const network = new MaskedNetwork(config as ModelConfig, configFile);
    const { kind } = (await optionalJson(join(folder, UNDRIFT_JSON))) ?? {};
    const isWhole = kind === MASKED_LANGUAGE_MODEL;
    const tokenizer = await readTokenizer(folder, { config, isWhole, pairs: true, onNote });
    await verifyLanguageModel(folder);
    const reader = await openWeights(folder);
    const file = join(folder, 'model.safetensors');
    try {
      const head = network.headNames;
      const isHeadless = head.every((name) => storedShape(reader, name, file) === undefined);
      if (isHeadless && newHead === undefined) {
        throw new DataError('the model has no head for masked tokens', {
          file,
          help: `use a model for masked language modelling (${String(network.configFile.architectures)}): encoders that were trained for sentences have lost its head, and undrift lm train --method masked trains a new one`,
        });
      }
      const { headPrefix, copies, specs } = network;
      for (const [copy, name] of copies) {
        if (!reader.tensors.has(copy)) continue;
        const original = [name, `${headPrefix}${name}`].find((each) => reader.tensors.has(each));
        if (original === undefined) continue;
        const [first, second] = await Promise.all([reader.read(copy), reader.read(original)]);
        if (Buffer.from(bytesOf(first)).equals(Buffer.from(bytesOf(second)))) continue;
        throw new DataError(`'${copy}' and '${original}' differ, and config.json says that they are one`, {
          file,
          help: 'if the model has a matrix of logits of its own, write "tie_word_embeddings": false into config.json',
        });
      }
      const isCopy = (name: string) => copies.has(name);
      const isFoldable = (name: string) => isHeadless && head.includes(name);
      const seed = newHead;
      const weights = await readWeights(reader, specs, {
        file,
        headPrefix,
        isFoldable,
        seed,
        isCopy,
        onNote,
      });
      if (isHeadless) onNote?.('the model has no head for masked tokens: a new one is trained');
      return new MaskedLanguageModel(network, tokenizer, weights, { file: join(folder, 'tokenizer.json') });
    } finally {
      await reader.close();
    }
  }

  /** Specifications of all parameters, by their names in `weights`. */
  get specs(): readonly ParameterSpec[] {
    return this.network.specs;
  }

  /** Name of the matrix [V, D] of the logits. */
  get logitMatrix(): string {
    return this.network.output.name;
  }

  /** Longest sequence, in tokens; undefined if there is no limit. */
  get maxTokens(): number | undefined {
    return this.network.maxTokens;
  }

  /** Whether the model reads segments of tokens. */
  get tokenTypes(): boolean {
    return this.network.tokenTypes;
  }

  /**
   * Computes log p(answer token | sequence) at each place of sequences, each by itself, in passes of bounded size.
   *
   * @returns f32[n] in nats for each sequence, in the order given
   * @throws UsageError that names a sequence which is longer than the model reads, or has a token or a place that there is not
   */
  scoreTokens(sequences: readonly MaskedSequence[], compute: ComputeOptions = {}): Promise<Float32Array[]> {
    return scoreMasked(this, sequences, compute);
  }

  /**
   * Finds the likeliest token at each place of sequences, each by itself.
   *
   * @returns i32[n] for each sequence, in the order given
   * @throws UsageError as `scoreTokens`
   */
  fill(sequences: readonly MaskedSequence[], compute: ComputeOptions = {}): Promise<Int32Array[]> {
    return fillMasked(this, sequences, compute);
  }
}

const bytesOf = ({ data }: { data: ArrayBufferView }): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
