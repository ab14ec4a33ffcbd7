import type { Tensor } from '../../graph/tensor.ts';
import type { ParameterSpec, Parameters } from '../../nn/parameters.ts';
import type { Packing } from '../../nn/text-rows.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';

/** A batch of token sequences inside a graph. */
export interface TokenInputs {
  /** i64[B, T]: positions in the rows of the embedding table that are in the graph (see `ROWS_INPUT`). */
  readonly ids: Tensor;
  /** f32[B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
  /** i64[B, T]: the segment of each token, where an architecture reads it; absent for all 0. */
  readonly types?: Tensor;
  /** Where the tokens are, so that padding need not go through the layers; absent: it does, which is right as well. */
  readonly packing?: Packing | undefined;
  /** u32[B]: one random word for each text and step, where `ForwardOptions.dropoutRatio` is above 0. */
  readonly dropoutKeys?: Tensor | undefined;
}

/** Weights by the architecture's own names. */
export type EncoderWeights = Readonly<Record<string, HostTensor>>;

/**
 * What turns token ids into one vector for each token or for the whole text. An architecture is one file: its parameters with
 * their Hugging Face names, and its forward function. `Config` is plain JSON, stored as the model folder's `config.json`.
 */
export interface Architecture<Config> {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** What stands before the names in files of models with a head, e.g. `bert.`. */
  readonly headPrefix?: string;
  /** Checks a config from a file or a user and fills in defaults. @throws DataError naming the field */
  parseConfig(json: Readonly<Record<string, unknown>>, file: string): Config;
  /** Whether texts are wrapped in the tokenizer's special tokens ([CLS] … [SEP]). */
  readonly specialTokens: boolean;
  /** The class that has its part in sentence-transformers. */
  readonly moduleClass: 'Transformer' | 'StaticEmbedding';
  /** Fields of config.json that others expect and we have no use for. */
  huggingFaceFields?(config: Config): Readonly<Record<string, unknown>>;
  /** Whether it reads `TokenInputs.types`. */
  readonly tokenTypes: boolean;
  /** Width of the vectors that `forward` gives. */
  hiddenSize(config: Config): number;
  /** Longest sequence it can read; undefined where there is no limit. */
  maxTokens(config: Config): number | undefined;
  vocabSize(config: Config): number;
  parameters(config: Config): ParameterSpec[];
  /**
   * Of a decoder, the matrix [V, D] whose products with the last hidden states are the next token's logits: one of `parameters` where
   * it is tied to the word vectors, else one of its own, under its name in the file. Absent for encoders.
   */
  logitParameter?(config: Config): ParameterSpec;
  /** @param inputs  one or several batches, which go through together (see `TextRows`); the result has one entry for each */
  forward(config: Config, p: Parameters, inputs: readonly TokenInputs[], options: ForwardOptions): Hidden[];
  /** The parameters that a weight file may lack, because `fold` has left them out; they have their initial values then. */
  readonly foldable?: readonly string[];
  /**
   * The same encoder in fewer tensors, and in a form that other programs read. What is stored, hashed and exported.
   * @param lengthMatters  false where the vectors are normalised, so that only their direction has to be kept
   */
  fold?(weights: EncoderWeights, lengthMatters: boolean): EncoderWeights;
  /** `forward` for whole tables and folded weights; absent where `forward` itself is right for them. */
  infer?(config: Config, p: FoldedParameters, inputs: TokenInputs): Hidden;
}

export interface ForwardOptions {
  /** Share of elements set to zero, in [0, 1). */
  readonly dropoutRatio?: number | undefined;
  /**
   * Told of what goes into the first layer and of what each layer gives, f32[B, T, D], the last one after a final norm. Of several
   * batches it is told of the first.
   */
  readonly onLayer?: (hidden: Tensor) => void;
}

/** What `forward` gives: `tokens`: f32[B, T, D] to be pooled; `pooled`: f32[B, D] already. */
export interface Hidden {
  readonly kind: 'tokens' | 'pooled';
  readonly hidden: Tensor;
}

/** Parameters by name; undefined for those that were folded away. */
export type FoldedParameters = (name: string) => Tensor | undefined;
