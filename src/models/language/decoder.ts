import { multiplyDims } from '../../graph/dims.ts';
import { gather, matmul, mul, reshape, sum } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { hiddenNextTokenLoss, hiddenTokenLogProbabilities } from '../../losses/next-token.ts';
import { pool } from '../../nn/layers.ts';
import type { ParameterSpec, Parameters } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { architectures } from '../architectures/all.ts';
import type { Architecture, CacheShape, ForwardOptions, TokenInputs } from '../architectures/architecture.ts';
import type { Direction } from '../architectures/direction.ts';
import { LAYER_STATES, type LayerState } from '../architectures/layer-states.ts';

/** Content of the architecture's config.json, with its `model_type`. */
export type ModelConfig = Readonly<Record<string, unknown>> & { readonly model_type: string };

/** Names of the states of a token that can be its key: the states inside the last layer, and `output`. */
export const TOKEN_STATES = [...LAYER_STATES, 'output'] as const;

/**
 * State of a token: a state inside the last layer (see `LayerState`), or `output`, the final hidden state after the
 * last norm.
 */
export type TokenState = LayerState | 'output';

/**
 * Causal decoder as functions on symbolic tensors, with the list of its parameters.
 *
 * The token embedding table is used whole, since every token can be the next one: ids are rows of the table,
 * and no parameter is a `lookup`.
 */
export class Decoder {
  /** Configuration, checked and with defaults filled in. */
  readonly config: ModelConfig;
  /** Content of config.json for transformers, without the ids of special tokens. */
  readonly configFile: Readonly<Record<string, unknown>>;
  /** Parameters, with their shapes and initial values. */
  readonly specs: readonly ParameterSpec[];
  /** Number of tokens V. */
  readonly vocabSize: number;
  /** Width D of the hidden states. */
  readonly hiddenSize: number;
  /** Longest sequence, in tokens; undefined if there is no limit. */
  readonly maxTokens: number | undefined;
  /** Prefix of the parameter names in files of models with a head. */
  readonly headPrefix: string | undefined;
  /** Shape of the keys and values of one token. */
  readonly cacheShape: CacheShape;
  private readonly architecture: Architecture<unknown>;
  /** Name of the table of token embeddings. */
  private readonly table: string;
  /** Whether the matrix of the logits is the table of token vectors. */
  private readonly isTied: boolean;
  /** Matrix [V, D] of the logits. */
  readonly output: ParameterSpec;

  /**
   * Checks the configuration.
   *
   * @param architecture architecture of the decoder. Default: that of the `model_type`
   * @throws UsageError when the architecture is not a decoder, or reads in both directions
   * @throws DataError when the configuration is invalid
   */
  constructor(
    config: ModelConfig,
    file = 'config.json',
    architecture: Architecture<unknown> | undefined = architectures.get(config.model_type),
  ) {
    if (!architecture?.logitParameter || !architecture.cacheShape || !architecture.causalClass) {
      const known = [...architectures.values()].filter((each) => each.logitParameter);
      throw new UsageError(
        `model_type ${JSON.stringify(config.model_type) ?? '""'} in ${file} predicts no next token`,
        {
          help: architecture?.decoder
            ? 'it is an encoder-decoder, which continues no text: load it as a SequenceToSequenceModel'
            : `these do: ${known.map(({ modelType }) => modelType).join(', ')}`,
        },
      );
    }
    const parsed = architecture.parseConfig(config, file);
    if ((parsed as Direction).is_causal === false) {
      throw new UsageError(`"is_causal": false in ${file}: the model reads in both directions`, {
        help: 'a model that sees the next token cannot predict it: load it as a retriever',
      });
    }
    this.config = parsed as ModelConfig;
    this.configFile = {
      ...architecture.huggingFaceFields?.(parsed),
      ...this.config,
      architectures: [architecture.causalClass],
    };
    this.architecture = architecture;
    this.headPrefix = architecture.headPrefix;
    this.vocabSize = architecture.vocabSize(parsed);
    this.hiddenSize = architecture.hiddenSize(parsed);
    this.maxTokens = architecture.maxTokens(parsed);
    this.cacheShape = architecture.cacheShape(parsed);
    this.output = architecture.logitParameter(parsed);
    const own = architecture.parameters(parsed);
    this.table = own.find(({ lookup }) => lookup !== undefined)!.name;
    this.isTied = own.some(({ name }) => name === this.output.name);
    this.specs = (this.isTied ? own : [...own, this.output]).map(({ lookup: _, ...spec }) => spec);
  }

  /**
   * Builds the logits of the next token at every position.
   *
   * @param inputs  ids i64[B, T] (rows of the table), mask f32[B, T], padding at the end
   * @returns f32[B, T, V]
   */
  logits(p: Parameters, inputs: TokenInputs, options: ForwardOptions = {}): Tensor {
    const hidden = this.hidden(p, inputs, options);
    const [batch, tokens, size] = hidden.shape as [string, string, number];
    const rows = reshape(hidden, [multiplyDims(batch, tokens), size]);
    return reshape(this.score(p, rows), [batch, tokens, this.vocabSize]);
  }

  /**
   * Builds the logits of the next token after the last token of each text.
   *
   * @returns f32[B, V]
   */
  lastLogits(p: Parameters, inputs: TokenInputs, options: ForwardOptions = {}): Tensor {
    return this.score(p, pool(this.hidden(p, inputs, options), inputs.mask, 'lasttoken'));
  }

  /**
   * Builds the final hidden states, f32[B, T, D].
   *
   * @throws UsageError if documents share a row and the architecture does not keep them apart
   */
  hidden(p: Parameters, inputs: TokenInputs, options: ForwardOptions = {}): Tensor {
    if (inputs.documents && !this.architecture.documents) {
      throw new UsageError(`${this.architecture.modelType} cannot keep documents of one row apart`, {
        help: 'give each document a row of its own',
      });
    }
    return this.architecture.forward(this.config, p, [inputs], options)[0]!.hidden;
  }

  /**
   * Builds the final hidden states and another state of each token.
   *
   * @returns hidden and state, f32[B, T, D]
   */
  hiddenAndState(
    p: Parameters,
    inputs: TokenInputs,
    { state, ...options }: ForwardOptions & { state: TokenState },
  ): { hidden: Tensor; state: Tensor } {
    let found: Tensor | undefined;
    const onState: ForwardOptions['onState'] = (name, layer, x) => {
      options.onState?.(name, layer, x);
      if (name === state) found = x;
    };
    const hidden = this.hidden(p, inputs, { ...options, onState });
    return { hidden, state: state === 'output' ? hidden : found! };
  }

  /**
   * Builds the mean of −log p(x_t | x_<t) over all tokens but the first of each text or document. Logits are computed
   * in pieces, which bounds the memory of a training step (see `hiddenNextTokenLoss`).
   *
   * @returns f32[], in nats per token
   */
  nextTokenLoss(p: Parameters, inputs: TokenInputs, options: ForwardOptions = {}): Tensor {
    const { ids, mask, documents } = inputs;
    return hiddenNextTokenLoss(this.hidden(p, inputs, options), this.matrix(p), ids, mask, { documents });
  }

  /**
   * Builds the log-probabilities of chosen tokens and, with the option `state`, a state of the last layer that predicts
   * each, and with `targetScores` the logits of the tokens themselves. Only these tokens get logits, in pieces.
   *
   * @param tokens.places i64[R]: place of the state that predicts each token among the B·T places, b·T + t
   * @param tokens.ids i64[R]: ids of the tokens
   * @returns log-probabilities f32[R] in nats and, if asked for, state f32[R, D] and logits f32[R]
   */
  scoreTokens(
    p: Parameters,
    inputs: TokenInputs,
    tokens: { places: Tensor; ids: Tensor },
    {
      state,
      targetScores = false,
      ...options
    }: ForwardOptions & { state?: TokenState | undefined; targetScores?: boolean } = {},
  ): { logProbabilities: Tensor; state?: Tensor; targetScores?: Tensor } {
    const { places, ids } = tokens;
    const at = (x: Tensor) => {
      const [batch, length, size] = x.shape as [string, string, number];
      return gather(reshape(x, [multiplyDims(batch, length), size]), places);
    };
    const found = this.hiddenAndState(p, inputs, { ...options, state: state ?? 'output' });
    const rows = at(found.hidden);
    const matrix = this.matrix(p);
    return {
      logProbabilities: hiddenTokenLogProbabilities(rows, matrix, ids),
      ...(state !== undefined && { state: state === 'output' ? rows : at(found.state) }),
      ...(targetScores && { targetScores: sum(mul(rows, gather(matrix, ids)), { axes: 1 }) }),
    };
  }

  /** Output matrix [V, D], whose products with the final hidden states are the logits. */
  matrix(p: Parameters): Tensor {
    return p(this.output.name);
  }

  /**
   * Looks up the embeddings of tokens, without positions.
   *
   * @param ids i64[…]
   * @returns f32[…, D]
   */
  embed(p: Parameters, ids: Tensor): Tensor {
    return gather(p(this.table), ids);
  }

  /** Returns the name of a parameter in files of transformers. */
  storedName(name: string): string {
    // A head of its own is no part of the bare model, whose names have the prefix.
    return name === this.output.name && !this.isTied ? name : `${this.headPrefix ?? ''}${name}`;
  }

  private score(p: Parameters, rows: Tensor): Tensor {
    return matmul(rows, this.matrix(p), { transB: true });
  }
}
