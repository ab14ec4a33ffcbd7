import { reshape } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type DenseLayer, dense, denseParameters, isPlainDense } from '../../nn/dense.ts';
import { normalize, type Pooling, pool, truncate } from '../../nn/layers.ts';
import type { ParameterSpec, Parameters } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { architectures } from '../architectures/all.ts';
import type {
  Architecture,
  EncoderWeights,
  FoldedParameters,
  ForwardOptions,
  Hidden,
  TokenInputs,
} from '../architectures/architecture.ts';

/** Configuration of an encoder: how a text's vector is made from its tokens, apart from the weights. */
export interface EncoderConfig {
  /** Content of the architecture's config.json, with its `model_type`. */
  model: Readonly<Record<string, unknown>> & { readonly model_type: string };
  /** Pooling of token vectors. */
  pooling: Pooling;
  /** Normalise vectors to unit length, so that dot products are cosines. */
  normalize: boolean;
  /** `false`: pooling leaves out the tokens of the prompt. Absent: it covers them too. */
  includePrompt?: false;
  /** Dense layers after pooling; absent for none. */
  dense?: readonly DenseLayer[];
  /**
   * Leading dimensions to keep, before normalisation, of a model trained at several sizes (Matryoshka);
   * absent for all.
   */
  dimensions?: number;
}

/**
 * Returns dense layers of a linear map without bias to `size` dimensions, the usual projection; none without a
 * size.
 */
export const projectionTo = (size: number | undefined): Pick<EncoderConfig, 'dense'> =>
  size === undefined ? {} : { dense: [{ size }] };

/** Tells whether dense layers are none, or the usual projection. */
export const isProjection = (layers: readonly DenseLayer[]): boolean =>
  layers.length === 0 || (layers.length === 1 && isPlainDense(layers[0]!));

/** Encoder as functions on symbolic tensors, with the list of its parameters. */
export class Encoder {
  /** Configuration, checked and with defaults filled in. */
  readonly config: EncoderConfig;
  /** Parameters, with their shapes and initial values. */
  readonly specs: readonly ParameterSpec[];
  /** Parameters of each dense layer, which are the last ones of `specs`. */
  readonly denseSpecs: readonly (readonly ParameterSpec[])[];
  /** Size of the pooled vectors, before dense layers. */
  readonly hiddenSize: number;
  /** Embedding size D. */
  readonly dimension: number;
  /** Longest sequence, in tokens; undefined if there is no limit. */
  readonly maxTokens: number | undefined;
  /** Number of rows of the token embedding table. */
  readonly vocabSize: number;
  /** Whether texts are wrapped in special tokens. */
  readonly specialTokens: boolean;
  /** Whether the layers can skip padding (see `TextRows`). */
  readonly packs: boolean;
  /** Whether the encoder reads token types. */
  readonly tokenTypes: boolean;
  /** Prefix of the parameter names in files of models with a head. */
  readonly headPrefix: string | undefined;
  /** Class that plays this role in sentence-transformers. */
  readonly moduleClass: Architecture<unknown>['moduleClass'];
  private readonly architecture: Architecture<unknown>;

  constructor(config: EncoderConfig, file = 'config.json') {
    const architecture = architectures.get(config.model.model_type);
    if (!architecture) {
      throw new UsageError(
        `unknown model_type ${JSON.stringify(config.model.model_type) ?? '""'} in ${file}`,
        {
          help: `known ones: ${[...architectures.keys()].join(', ')}`,
        },
      );
    }
    const model = architecture.parseConfig(config.model, file);
    if (architecture.moduleClass === 'StaticEmbedding' && config.pooling !== 'mean') {
      throw new UsageError(`${config.pooling} pooling of a static encoder: it takes the mean by itself`, {
        help: 'leave the pooling out: it is the mean',
      });
    }
    this.config = { ...config, model };
    this.architecture = architecture;
    this.specialTokens = architecture.specialTokens;
    this.packs = architecture.moduleClass === 'Transformer';
    this.tokenTypes = architecture.tokenTypes;
    this.headPrefix = architecture.headPrefix;
    this.moduleClass = architecture.moduleClass;
    this.maxTokens = architecture.maxTokens(model);
    this.vocabSize = architecture.vocabSize(model);
    const hidden = architecture.hiddenSize(model);
    this.hiddenSize = hidden;
    const { dense: layers = [] } = config;
    const whole = layers.at(-1)?.size ?? hidden;
    this.dimension = config.dimensions ?? whole;
    if (this.dimension > whole) {
      throw new UsageError(`${this.dimension} dimensions of a model that has ${whole}`, {
        help: `keep ${whole} or fewer`,
      });
    }
    this.denseSpecs = denseParameters(layers, hidden);
    this.specs = [...architecture.parameters(model), ...this.denseSpecs.flat()];
  }

  /**
   * Builds the embedding of each text.
   *
   * @param inputs  ids i64[B, T] (positions in the gathered rows), mask f32[B, T]
   * @returns f32[B, D]
   */
  embed(p: Parameters, inputs: TokenInputs, options: ForwardOptions = {}): Tensor {
    return this.embedAll(p, [inputs], options)[0]!;
  }

  /**
   * Builds the embeddings of several batches, which go through the layers together (see `TextRows`).
   *
   * @returns f32[B, D] for each batch
   * @throws UsageError if documents share a row
   */
  embedAll(p: Parameters, inputs: readonly TokenInputs[], options: ForwardOptions = {}): Tensor[] {
    if (inputs.some(({ documents }) => documents)) {
      throw new UsageError('an embedding is that of a whole row, and several documents share a row', {
        help: 'give each document a row of its own',
      });
    }
    const hidden = this.architecture.forward(this.config.model, p, inputs, options);
    return hidden.map((each, i) => this.finish(p, inputs[i]!, each));
  }

  /**
   * Builds the vectors of the tokens of several batches, before pooling. The batches go through the layers together (see `TextRows`).
   *
   * @returns f32[B, T, hidden size] for each batch; entries of padding have no meaning
   * @throws UsageError if the architecture makes vectors of whole texts alone
   */
  tokenVectors(p: Parameters, inputs: readonly TokenInputs[], options: ForwardOptions = {}): Tensor[] {
    return this.architecture.forward(this.config.model, p, inputs, options).map(({ kind, hidden }) => {
      if (kind === 'tokens') return hidden;
      throw new UsageError(
        `the architecture ${this.config.model.model_type} has no vectors of tokens in their context`,
        { help: 'use a transformer, such as BERT' },
      );
    });
  }

  /**
   * Builds the embedding of each text from whole tables and folded weights, and also returns the token
   * vectors.
   *
   * @returns embedding f32[B, D]; hidden f32[B, T, hidden size], absent if the architecture pools by itself
   */
  infer(p: FoldedParameters, inputs: TokenInputs): { embedding: Tensor; hidden?: Tensor } {
    const every: Parameters = (name) => p(name)!;
    const made = this.architecture.infer
      ? this.architecture.infer(this.config.model, p, inputs)
      : this.architecture.forward(this.config.model, every, [inputs], {})[0]!;
    const embedding = this.finish(every, inputs, made);
    return made.kind === 'tokens' ? { embedding, hidden: made.hidden } : { embedding };
  }

  /** Converts weights to the form that is stored, hashed and exported (see `Architecture.fold`). */
  fold(weights: EncoderWeights): EncoderWeights {
    const { normalize, dense = [] } = this.config;
    // Linear maps keep the direction of a scaled vector, and so does all that follows a normalised one.
    const bent = dense.findIndex((layer) => !isPlainDense(layer));
    const lengthMatters = bent < 0 ? !normalize : !dense[bent]!.normalizeInput;
    return this.architecture.fold?.(weights, lengthMatters) ?? weights;
  }

  /** Content of config.json, with the fields that other programs expect. */
  get configFile(): Readonly<Record<string, unknown>> {
    const { model } = this.config;
    return { ...this.architecture.huggingFaceFields?.(model), ...model };
  }

  /** Tells whether a weight file may lack the parameter, because it was folded into another. */
  isFoldable(name: string): boolean {
    return this.architecture.foldable?.includes(name) ?? false;
  }

  /**
   * Pools, projects and normalises given token vectors.
   *
   * @param inputs  mask f32[B, T], and the tokens that pooling leaves out
   * @param hidden  f32[B, T, hidden size]
   * @returns f32[B, D]
   */
  pool(p: Parameters, inputs: Pick<TokenInputs, 'mask' | 'unpooled'>, hidden: Tensor): Tensor {
    return this.finish(p, inputs, { kind: 'tokens', hidden });
  }

  private finish(
    p: Parameters,
    { mask, unpooled = 0 }: Pick<TokenInputs, 'mask' | 'unpooled'>,
    { kind, hidden }: Hidden,
  ): Tensor {
    const { pooling, dense: layers = [] } = this.config;
    const pooled = kind === 'pooled' ? hidden : pool(hidden, mask, pooling, { skipped: unpooled });
    const vectors = dense(reshape(pooled, [mask.shape[0]!, pooled.shape[1]!]), p, layers);
    const kept = truncate(vectors, this.dimension);
    return this.config.normalize ? normalize(kept) : kept;
  }
}
