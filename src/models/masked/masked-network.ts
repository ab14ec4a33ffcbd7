import { multiplyDims } from '../../graph/dims.ts';
import { add, concat, fill, gather, matmul, reshape, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { hiddenTokenLogProbabilities } from '../../losses/next-token.ts';
import { embeddingParameters, type ParameterSpec, type Parameters } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { architectures } from '../architectures/all.ts';
import type { Architecture, TokenInputs } from '../architectures/architecture.ts';
import { configFields } from '../architectures/config-fields.ts';
import type { ModelConfig } from '../language/decoder.ts';
import { MASKED_MODEL_TYPES, type MaskedHead, maskedHead } from './masked-head.ts';

/**
 * Encoder with a head for masked tokens as functions on symbolic tensors, with the list of its parameters.
 *
 * The token embedding table is used whole: ids are rows of the table, and no parameter is a `lookup`.
 */
export class MaskedNetwork {
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
  /** Prefix of the names of the encoder's parameters in files. */
  readonly headPrefix: string;
  /** Matrix [V, D] of the logits. */
  readonly output: ParameterSpec;
  /** Names under which files may repeat matrix and bias of the logits, with the names of what they repeat. */
  readonly copies: ReadonlyMap<string, string>;
  private readonly architecture: Architecture<unknown>;
  private readonly head: MaskedHead;
  /** Name of the bias of the logits; undefined where there is none. */
  private readonly bias: string | undefined;

  /**
   * Checks the configuration.
   *
   * @throws UsageError when the architecture has no head for masked tokens
   * @throws DataError when the configuration is invalid
   */
  constructor(config: ModelConfig, file = 'config.json') {
    const architecture = architectures.get(config.model_type) as Architecture<unknown> | undefined;
    const parsed = architecture?.parseConfig(config, file);
    const size = architecture ? architecture.hiddenSize(parsed) : 0;
    const head = architecture && maskedHead(config.model_type, { size, config, file });
    if (!architecture || !head) {
      throw new UsageError(
        `model_type ${JSON.stringify(config.model_type) ?? '""'} in ${file} is no masked language model`,
        { help: `these are: ${MASKED_MODEL_TYPES.join(', ')}` },
      );
    }
    const isTied = configFields(config, file).flag('tie_word_embeddings', true);
    this.architecture = architecture;
    this.head = head;
    this.config = {
      ...(parsed as ModelConfig),
      ...head.fields,
      ...(!isTied && { tie_word_embeddings: false }),
    };
    this.configFile = {
      ...architecture.huggingFaceFields?.(parsed),
      ...this.config,
      architectures: [head.modelClass],
    };
    this.vocabSize = architecture.vocabSize(parsed);
    this.hiddenSize = size;
    this.maxTokens = architecture.maxTokens(parsed);
    this.headPrefix = architecture.headPrefix ?? '';
    const own = architecture.parameters(parsed);
    const table = own.find(({ lookup }) => lookup !== undefined)!;
    this.output = isTied
      ? table
      : embeddingParameters(head.matrix.replace(/\.weight$/, ''), this.vocabSize, size);
    this.bias = isTied ? head.bias : (head.matrixBias ?? head.bias);
    const bias: readonly ParameterSpec[] =
      this.bias === undefined
        ? []
        : [{ name: this.bias, shape: [this.vocabSize], init: { kind: 'constant', value: 0 }, decay: false }];
    const ofHead = [...head.specs, ...(isTied ? [] : [this.output]), ...bias];
    this.specs = [...own, ...ofHead].map(({ lookup: _, ...spec }) => spec);
    this.copies = new Map(
      isTied
        ? [[head.matrix, table.name], ...(head.matrixBias ? [[head.matrixBias, head.bias!] as const] : [])]
        : [],
    );
  }

  /** Whether the architecture reads segments of tokens. */
  get tokenTypes(): boolean {
    return this.architecture.tokenTypes;
  }

  /** Names of the parameters of the head. */
  get headNames(): readonly string[] {
    return [...this.head.specs.map(({ name }) => name), ...(this.bias === undefined ? [] : [this.bias])];
  }

  /**
   * Builds the final hidden states, f32[B, T, D].
   *
   * @param inputs  ids i64[B, T] (rows of the table), mask f32[B, T], padding at the end
   */
  hidden(p: Parameters, inputs: TokenInputs): Tensor {
    return this.architecture.forward(this.config, p, [inputs], {})[0]!.hidden;
  }

  /**
   * Builds the logits of the tokens at chosen places.
   *
   * @param places i64[R]: places among the B·T of the batch, b·T + t
   * @returns f32[R, V]
   */
  logitsAt(p: Parameters, inputs: TokenInputs, places: Tensor): Tensor {
    const scores = matmul(this.vectorsAt(p, inputs, places), p(this.output.name), { transB: true });
    return this.bias === undefined ? scores : add(scores, unsqueeze(p(this.bias), 0));
  }

  /**
   * Builds the log-probabilities of tokens at chosen places, each given what the batch has in the place. Logits are computed in pieces
   * (see `tokenLogLikelihood`).
   *
   * @param tokens.places i64[R]: places among the B·T of the batch, b·T + t
   * @param tokens.ids i64[R]: ids of the tokens
   * @returns f32[R] in nats
   */
  scoreTokens(
    p: Parameters,
    inputs: TokenInputs,
    { places, ids }: { readonly places: Tensor; readonly ids: Tensor },
  ): { logProbabilities: Tensor } {
    const vectors = this.vectorsAt(p, inputs, places);
    const matrix = p(this.output.name);
    if (this.bias === undefined)
      return { logProbabilities: hiddenTokenLogProbabilities(vectors, matrix, ids) };
    // The bias is the last column of the matrix, and each vector ends with a 1.
    const one = fill(vectors.graph, 1, [vectors.shape[0]!, 1]);
    const wide = concat([matrix, unsqueeze(p(this.bias), 1)], 1);
    return { logProbabilities: hiddenTokenLogProbabilities(concat([vectors, one], 1), wide, ids) };
  }

  /** Returns the name of a parameter in files of transformers. */
  storedName(name: string): string {
    const isOfHead = name === this.head.matrix || this.headNames.includes(name);
    return isOfHead ? name : `${this.headPrefix}${name}`;
  }

  /** Vectors of the head at chosen places, f32[R, D]. */
  private vectorsAt(p: Parameters, inputs: TokenInputs, places: Tensor): Tensor {
    const hidden = this.hidden(p, inputs);
    const [batch, tokens, size] = hidden.shape as [string, string, number];
    const rows = gather(reshape(hidden, [multiplyDims(batch, tokens), size]), places);
    return this.head.transform(p, rows);
  }
}
