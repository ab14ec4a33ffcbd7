import type { Tensor } from '../graph/tensor.ts';
import type { Dropout } from '../nn/layers.ts';
import type { ParameterSpec, Parameters } from '../nn/parameters.ts';

/** A batch of token sequences inside a graph. */
export interface TokenInputs {
  /** i64[B, T]: positions in the rows of the embedding table that are in the graph (see `ROWS_INPUT`). */
  readonly ids: Tensor;
  /** f32[B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
}

/**
 * What turns token ids into one vector for each token or for the whole text. An architecture is one file: its parameters with
 * their Hugging Face names, and its forward function. `Config` is plain JSON, stored as the model folder's `config.json`.
 */
export interface Architecture<Config> {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** Checks a config from a file or a user and fills in defaults. @throws DataError naming the field */
  parseConfig(json: Readonly<Record<string, unknown>>, file: string): Config;
  /** Whether texts are wrapped in the tokenizer's special tokens ([CLS] … [SEP]). */
  readonly specialTokens: boolean;
  /** Width of the vectors that `forward` gives. */
  hiddenSize(config: Config): number;
  /** Longest sequence it can read; undefined where there is no limit. */
  maxTokens(config: Config): number | undefined;
  vocabSize(config: Config): number;
  parameters(config: Config): ParameterSpec[];
  /** `tokens`: f32[B, T, D] to be pooled; `pooled`: f32[B, D] already. */
  forward(
    config: Config,
    p: Parameters,
    inputs: TokenInputs,
    options: { dropout?: Dropout | undefined },
  ): { kind: 'tokens' | 'pooled'; hidden: Tensor };
}
