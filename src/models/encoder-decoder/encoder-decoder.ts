import { multiplyDims } from '../../graph/dims.ts';
import { mul, reshape, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { hiddenNextTokenLoss } from '../../losses/next-token.ts';
import type { KeyValues } from '../../nn/attention.ts';
import { type ParameterSpec, type Parameters, parameterCount } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { architectures } from '../architectures/all.ts';
import type {
  Architecture,
  CrossAttentionListener,
  CrossAttentionOptions,
  CrossDecoder,
  LayerMemory,
  ReadStates,
  TokenInputs,
} from '../architectures/architecture.ts';
import { Decoder, type ModelConfig } from '../language/decoder.ts';
import type { SequenceBatch } from './sequence-batch.ts';

/** States of an encoder that a decoder reads. */
export interface EncoderStates {
  /** States of the tokens, f32[B, K, D]. */
  readonly states: Tensor;
  /** Mask, f32[B, K]: 1 for states that are read, 0 for others. */
  readonly mask: Tensor;
}

/** Options of the graph functions of an encoder-decoder. */
export interface SequenceOptions {
  /** Share of elements that dropout sets to zero, in [0, 1). Needs inputs with `dropout`. Default 0. */
  readonly dropoutRatio?: number | undefined;
  /** Called with the cross-attention of each layer of the decoder. */
  readonly onAttention?: CrossAttentionListener | undefined;
}

/**
 * Encoder-decoder as functions on symbolic tensors, with the list of its parameters.
 *
 * The decoder reads the states of the encoder through `ForwardOptions.memory`. The states of several inputs can stand side by side:
 * each is encoded alone, and the decoder reads them all (Fusion-in-Decoder, Izacard and Grave 2021, arXiv:2007.01282). As cross-attention
 * has no positions, their order does not matter.
 *
 * The token embedding table is used whole: ids are rows of the table, and no parameter is a `lookup`.
 */
export class EncoderDecoder {
  /** Decoder, which predicts the tokens of targets. Its functions need the option `memory` (see `memory`). */
  readonly decoder: Decoder;
  /** Parameters of both sides, with their shapes and initial values. */
  readonly specs: readonly ParameterSpec[];
  /** Id of the token before the first one of each target. */
  readonly startId: number;
  private readonly encoder: Architecture<unknown>;
  private readonly cross: CrossDecoder<unknown>;

  /**
   * Checks the configuration.
   *
   * @throws UsageError when the architecture is not an encoder-decoder
   * @throws DataError when the configuration is invalid
   */
  constructor(config: ModelConfig, file = 'config.json') {
    const encoder = architectures.get(config.model_type);
    if (!encoder?.decoder) {
      const known = [...architectures.values()].filter((each) => each.decoder);
      throw new UsageError(
        `model_type ${JSON.stringify(config.model_type) ?? '""'} in ${file} is no encoder-decoder`,
        { help: `these are: ${known.map(({ modelType }) => modelType).join(', ')}` },
      );
    }
    this.encoder = encoder;
    this.cross = encoder.decoder;
    this.decoder = new Decoder(config, file, encoder.decoder as Architecture<unknown>);
    const { specs } = this.decoder;
    const shared = new Set(specs.map(({ name }) => name));
    const own = encoder.parameters(this.decoder.config).filter(({ name }) => !shared.has(name));
    this.specs = [...specs, ...own];
    this.startId = encoder.decoder.startId(this.decoder.config);
    if (this.startId >= this.decoder.vocabSize) {
      throw new UsageError(
        `decoder_start_token_id ${this.startId} in ${file}, and the model has the tokens 0 to ${this.decoder.vocabSize - 1}`,
      );
    }
  }

  /**
   * Counts the parameters that tokens go through: those of inputs through the encoder, their states through the keys and values of the
   * decoder's cross-attention, and those of targets through the rest of the decoder, with the matrix of the logits.
   */
  sizes(): { readonly encoder: number; readonly states: number; readonly decoder: number } {
    const own = new Set(this.decoder.specs.map(({ name }) => name));
    const ofDecoder = this.specs.filter(({ name }) => own.has(name));
    const ofStates = ofDecoder.filter(({ name }) => this.cross.readsStates(name));
    const [all, decoder, states] = [this.specs, ofDecoder, ofStates].map(parameterCount) as [
      number,
      number,
      number,
    ];
    return { encoder: all - decoder, states, decoder: decoder - states };
  }

  /** Names under which files may repeat the table of tokens. */
  get tableCopies(): readonly string[] {
    return this.cross.tableCopies;
  }

  /** Configuration, checked and with defaults filled in. */
  get config(): ModelConfig {
    return this.decoder.config;
  }

  /**
   * Builds the states of texts, each encoded alone.
   *
   * @param inputs ids i64[B, T], mask f32[B, T], padding at the end
   * @returns f32[B, T, D]
   */
  encode(p: Parameters, inputs: TokenInputs, options: Pick<SequenceOptions, 'dropoutRatio'> = {}): Tensor {
    return this.encoder.forward(this.config, p, [inputs], options)[0]!.hidden;
  }

  /**
   * Builds the states that each target reads: those of its inputs side by side. Inputs with `read` 0 are masked.
   *
   * @returns states f32[B, n·T, D] and their mask f32[B, n·T]
   */
  encodeExamples(
    p: Parameters,
    { inputs, read }: Pick<SequenceBatch, 'inputs' | 'read'>,
    options: Pick<SequenceOptions, 'dropoutRatio'> = {},
  ): EncoderStates {
    const [targets, each] = read.shape as [string, string];
    const tokens = inputs.ids.shape[1]!;
    const all = multiplyDims(each, tokens);
    const states = this.encode(p, inputs, options);
    const mask = mul(reshape(inputs.mask, [targets, each, tokens]), unsqueeze(read, 2));
    return {
      states: reshape(states, [targets, all, this.decoder.hiddenSize]),
      mask: reshape(mask, [targets, all]),
    };
  }

  /**
   * Builds keys and values of states for a layer of the decoder.
   *
   * @param states f32[B, K, D]
   * @param layer number of the layer, from 0
   */
  keyValues(p: Parameters, states: Tensor, layer: number): KeyValues {
    return this.cross.crossKeyValues(this.config, p, states, layer);
  }

  /** Makes the memory with which the decoder reads states: the option `memory` of its functions, for one batch of targets. */
  memory(p: Parameters, { states, mask }: EncoderStates, options: CrossAttentionOptions = {}): LayerMemory {
    return this.memoryOf(p, { keyValues: (layer) => this.keyValues(p, states, layer), mask }, options);
  }

  /** Makes the memory of `memory` from keys and values that are there already. */
  memoryOf(p: Parameters, read: ReadStates, options: CrossAttentionOptions = {}): LayerMemory {
    return this.cross.crossAttention(this.config, p, read, options);
  }

  /**
   * Builds the final hidden states of targets, whose products with the matrix of the decoder are the logits of the next tokens.
   *
   * @returns f32[B, U, D]
   */
  hidden(p: Parameters, batch: SequenceBatch, options: SequenceOptions = {}): Tensor {
    const memory = this.batchMemory(p, batch, options);
    return this.decoder.hidden(p, batch.targets, { dropoutRatio: options.dropoutRatio, memory });
  }

  /**
   * Builds the logits of the token after each token of targets.
   *
   * @returns f32[B, U, V]
   */
  logits(p: Parameters, batch: SequenceBatch, options: SequenceOptions = {}): Tensor {
    const memory = this.batchMemory(p, batch, options);
    return this.decoder.logits(p, batch.targets, { dropoutRatio: options.dropoutRatio, memory });
  }

  /**
   * Builds the mean of −log p(y_t | y_<t, inputs) over all tokens of the targets but the start token. Logits are computed in pieces (see
   * `hiddenNextTokenLoss`).
   *
   * Gradient: to the parameters of both sides.
   *
   * @returns f32[], in nats per token
   */
  loss(p: Parameters, batch: SequenceBatch, options: SequenceOptions = {}): Tensor {
    const { ids, mask } = batch.targets;
    return hiddenNextTokenLoss(this.hidden(p, batch, options), this.decoder.matrix(p), ids, mask);
  }

  private batchMemory(
    p: Parameters,
    batch: SequenceBatch,
    { dropoutRatio, onAttention }: SequenceOptions,
  ): LayerMemory {
    const { dropoutKeys } = batch.targets;
    const states = this.encodeExamples(p, batch, { dropoutRatio });
    return this.memory(p, states, { dropoutRatio, dropoutKeys, onAttention });
  }
}
