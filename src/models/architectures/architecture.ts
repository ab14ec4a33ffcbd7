import type { Tensor } from '../../graph/tensor.ts';
import type { KeyValues } from '../../nn/attention.ts';
import type { ParameterSpec, Parameters } from '../../nn/parameters.ts';
import type { Packing } from '../../nn/text-rows.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { LayerStateListener } from './layer-states.ts';

/** Batch of token sequences inside a graph. */
export interface TokenInputs {
  /** Token ids, i64[B, T]: positions in the rows of the embedding table that are in the graph (see `ROWS_INPUT`). */
  readonly ids: Tensor;
  /** Mask, f32[B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
  /** Segment of each token, i64[B, T], for architectures with `tokenTypes`. Absent if all are 0. */
  readonly types?: Tensor;
  /**
   * Document of each token, i64[B, T], for architectures with `documents`, where several documents share a row.
   * Tokens attend only to tokens of the same number, and positions count from the first of them. Absent if each row
   * is one document.
   */
  readonly documents?: Tensor | undefined;
  /**
   * Positions of the tokens, which let the layers skip padding. If absent, padding goes through the layers,
   * with the same results.
   */
  readonly packing?: Packing | undefined;
  /**
   * Number of tokens at the beginning of each text that pooling leaves out: one for all texts, or i64[B]. Default
   * 0.
   */
  readonly unpooled?: number | Tensor | undefined;
  /**
   * Position of each token in its text, i64[B, T], for decoders. Default 0 … T − 1, which is right if no tokens were read before
   * and padding stands at the end.
   */
  readonly positions?: Tensor | undefined;
  /** Keys and values of tokens that a decoder has read before those of the batch. Default none. */
  readonly cache?: KeyValueCache | undefined;
  /** Random words, u32[B]: one for each text and step. Required if `ForwardOptions.dropoutRatio` is above 0. */
  readonly dropoutKeys?: Tensor | undefined;
}

/** Shape of a decoder's keys and values for one token: `layers` times twice f32[heads, size]. */
export interface CacheShape {
  readonly layers: number;
  /** Number of key heads, G. */
  readonly heads: number;
  /** Size of a head, S. */
  readonly size: number;
}

/** Keys and values of a decoder's layers for the tokens that it has read before, P for each text. */
export interface KeyValueCache {
  /** Mask, f32[B, P]: 1 for tokens, 0 for padding and for places that are not in use. Absent if P = 0. */
  readonly mask?: Tensor | undefined;
  /** Positions of these tokens, i64[B, P], which decoders with biases for distances read. Any number at other places. */
  readonly positions?: Tensor | undefined;
  /**
   * Receives keys and values of the batch's own tokens in a layer, f32[B, G, T, S], and returns those to attend to: of the P tokens
   * before them, then their own, in one or several pieces.
   */
  attended(layer: number, own: KeyValues): readonly KeyValues[];
}

/** Weights of an encoder, by the architecture's own names. */
export type EncoderWeights = Readonly<Record<string, HostTensor>>;

/**
 * Architecture: turns token ids into one vector for each token or for the whole text.
 *
 * An architecture is one file with its parameters, under their Hugging Face names, and its forward function.
 * `Config` is plain JSON, stored as `config.json` in the model folder.
 */
export interface Architecture<Config> {
  /** Value of `model_type` in config.json. */
  readonly modelType: string;
  /** Prefix of the parameter names in files of models with a head, for example `bert.`. */
  readonly headPrefix?: string;
  /**
   * Checks a config from a file or a user and fills in defaults.
   *
   * @throws DataError that names the field
   */
  parseConfig(json: Readonly<Record<string, unknown>>, file: string): Config;
  /** Whether texts are wrapped in the tokenizer's special tokens ([CLS] … [SEP]). */
  readonly specialTokens: boolean;
  /** Class that plays this role in sentence-transformers. */
  readonly moduleClass: 'Transformer' | 'StaticEmbedding';
  /** Fields of config.json that other programs expect and Undrift does not use. */
  huggingFaceFields?(config: Config): Readonly<Record<string, unknown>>;
  /** Whether the architecture reads `TokenInputs.types`. */
  readonly tokenTypes: boolean;
  /** Whether the architecture reads `TokenInputs.documents`. Default false. */
  readonly documents?: true;
  /** Width D of the vectors that `forward` returns. */
  hiddenSize(config: Config): number;
  /** Longest sequence, in tokens; undefined if there is no limit. */
  maxTokens(config: Config): number | undefined;
  /** Number of rows of the token embedding table. */
  vocabSize(config: Config): number;
  /** Lists the parameters with their shapes and initial values. */
  parameters(config: Config): ParameterSpec[];
  /**
   * Matrix [V, D] of a decoder, whose products with the last hidden states are the logits of the next token.
   * It is one of `parameters` if it is tied to the token embeddings, else a parameter of its own, under its
   * name in the file. Absent for encoders.
   */
  logitParameter?(config: Config): ParameterSpec;
  /** Class of a decoder with a language-model head in transformers, such as `LlamaForCausalLM`. Absent for encoders. */
  readonly causalClass?: string;
  /** Shape of the keys and values that a decoder's layers make for each token. Absent for encoders. */
  cacheShape?(config: Config): CacheShape;
  /**
   * Builds the forward pass.
   *
   * @param inputs  one or several batches, which go through the layers together (see `TextRows`)
   * @returns one entry for each batch
   */
  forward(config: Config, p: Parameters, inputs: readonly TokenInputs[], options: ForwardOptions): Hidden[];
  /** Parameters that a weight file may lack because `fold` has removed them. They then have their initial values. */
  readonly foldable?: readonly string[];
  /**
   * Converts the weights to an equivalent encoder with fewer tensors, in a form that other programs read.
   * Folded weights are stored, hashed and exported.
   *
   * @param lengthMatters  false if vectors are normalised, so that only their direction must be kept
   */
  fold?(weights: EncoderWeights, lengthMatters: boolean): EncoderWeights;
  /** Builds the forward pass for whole tables and folded weights. Absent if `forward` is right for them. */
  infer?(config: Config, p: FoldedParameters, inputs: TokenInputs): Hidden;
  /** Decoder of an encoder-decoder, whose encoder is the architecture itself. Absent for others. */
  readonly decoder?: CrossDecoder<Config>;
}

/**
 * Decoder that reads the states of an encoder by cross-attention in each layer. Its `forward` needs the option `memory`, which
 * `crossAttention` makes. Its parameters are those of the decoder alone and the table of tokens, which it shares with the encoder.
 */
export interface CrossDecoder<Config> extends Architecture<Config> {
  /** Names under which files may repeat the table of tokens. */
  readonly tableCopies: readonly string[];
  /** Id of the token before the first one of each target. */
  startId(config: Config): number;
  /** Tells whether a parameter makes keys or values of the encoder's states. */
  readsStates(name: string): boolean;
  /**
   * Computes keys and values of the encoder's states for one layer.
   *
   * @param states f32[B, K, D]
   * @param layer number of the layer, from 0
   * @returns f32[B, G, K, S] each
   */
  crossKeyValues(config: Config, p: Parameters, states: Tensor, layer: number): KeyValues;
  /** Makes the memory of a forward pass over one batch. A text all of whose states are masked reads exactly 0. */
  crossAttention(
    config: Config,
    p: Parameters,
    read: ReadStates,
    options?: CrossAttentionOptions,
  ): LayerMemory;
}

/** Encoder states that a decoder reads. */
export interface ReadStates {
  /** Returns keys and values of the K states for a layer, f32[B, G, K, S] each. */
  readonly keyValues: (layer: number) => KeyValues;
  /** Mask: 1 for states that are read, 0 for others. f32[B, K], or f32[B, T, K] where the tokens of a text read different states. */
  readonly mask: Tensor;
}

/** Options of cross-attention. */
export interface CrossAttentionOptions {
  /** Share of elements that dropout sets to zero, in [0, 1). Default 0. */
  readonly dropoutRatio?: number | undefined;
  /** Random words, u32[B]: one for each text and step. Required if `dropoutRatio` is above 0. */
  readonly dropoutKeys?: Tensor | undefined;
  /** Called for each layer, in ascending order. */
  readonly onAttention?: CrossAttentionListener | undefined;
}

/**
 * Callback for the cross-attention of a layer.
 *
 * @param layer number of the layer, from 0
 * @param attention.probabilities f32[B, H, T, K], before dropout
 * @param attention.values f32[B, G, K, S]: each head of the values serves H/G heads of the probabilities
 */
export type CrossAttentionListener = (
  layer: number,
  attention: { readonly probabilities: Tensor; readonly values: Tensor },
) => void;

/** Options of a forward pass. */
export interface ForwardOptions {
  /**
   * Whether no gradient will be taken and the program runs on the CPU, so that decoders may use kernels without a gradient. Results are the
   * same up to rounding. Default false.
   */
  readonly inference?: boolean | undefined;
  /** Share of elements that dropout sets to zero, in [0, 1). Default 0. */
  readonly dropoutRatio?: number | undefined;
  /**
   * Called with the input of the first layer and the output of each layer, f32[B, T, D]; the last output
   * comes after a final norm. Of several batches, only the first is reported.
   */
  readonly onLayer?: (hidden: Tensor) => void;
  /** Memory that a decoder reads in its layers. Encoders have none. Default: none. */
  readonly memory?: LayerMemory | undefined;
  /**
   * Called by decoders with the states inside each layer, in the order in which they are computed (see
   * `LAYER_STATES`). Of several batches, only the first is reported.
   */
  readonly onState?: LayerStateListener | undefined;
}

/**
 * Memory beside the text, such as retrieved neighbours or the states of an encoder, that the layers of a decoder read. It brings its own
 * norm, attention and output map; the decoder adds what it reads to the residual stream:
 *
 *     h = h + attention(norm(h));  h = h + read(h);  h = h + feedForward(norm(h))      for each layer
 */
export interface LayerMemory {
  /**
   * Builds what a layer reads. Called once for each layer, in ascending order, between attention and feed-forward part.
   *
   * @param layer number of the layer, from 0
   * @param hidden residual stream of the layer after attention, before any norm, f32[B, T, D]
   * @param batch number of the batch, from 0, for forward passes of several batches
   * @returns f32[B, T, D] to add to the residual stream; undefined for a layer that reads nothing
   */
  read(layer: number, hidden: Tensor, batch: number): Tensor | undefined;
}

/** Result of `forward`. `tokens`: f32[B, T, D], to be pooled. `pooled`: f32[B, D], already pooled. */
export interface Hidden {
  /** Whether `hidden` holds token vectors or vectors of whole texts. */
  readonly kind: 'tokens' | 'pooled';
  readonly hidden: Tensor;
}

/** Looks up parameters by name; undefined for those that were folded away. */
export type FoldedParameters = (name: string) => Tensor | undefined;
