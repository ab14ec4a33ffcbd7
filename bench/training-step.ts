import type { Dim } from '../src/graph/dims.ts';
import { Graph } from '../src/graph/graph.ts';
import { matmul, range, slice } from '../src/graph/ops.ts';
import type { Tensor } from '../src/graph/tensor.ts';
import { softmaxCrossEntropy } from '../src/losses/softmax-cross-entropy.ts';
import type { TokenInputs } from '../src/models/architectures/architecture.ts';
import { Encoder, type EncoderConfig } from '../src/models/retriever/encoder.ts';
import { type PaddedTokens, TokenFeeds } from '../src/models/retriever/token-feeds.ts';
import { declareParameters, initialValue } from '../src/nn/parameters.ts';
import { adamw } from '../src/optim/adamw.ts';
import type { ComputeOptions } from '../src/runtime/devices.ts';
import { gradientsIn, outputGradients } from '../src/runtime/gradients.ts';
import { type HostTensor, hostTensor, scalarValue } from '../src/runtime/host-tensor.ts';
import { Learner } from '../src/runtime/learner.ts';
import { Program } from '../src/runtime/program.ts';

/** Shape of texts of one length, without padding. */
interface TextShape {
  readonly texts: number;
  readonly tokens: number;
}

/** Training step to measure. */
export interface StepCase {
  readonly id: string;
  readonly title: string;
  readonly encoder: EncoderConfig;
  readonly queries: TextShape;
  readonly documents: TextShape;
  /** Number of distinct token ids in a batch. */
  readonly distinctTokens: number;
  readonly steps: number;
  /** Whether the activations of each layer are computed again for the gradient. */
  readonly gradientCheckpointing?: boolean;
}

const reference: EncoderConfig = {
  model: {
    model_type: 'bert',
    vocab_size: 30_522,
    hidden_size: 384,
    num_hidden_layers: 6,
    num_attention_heads: 12,
    intermediate_size: 1536,
  },
  pooling: 'mean',
  normalize: true,
};
const transformerCase = (tokens: number, steps: number): StepCase => ({
  id: `t${tokens}`,
  title: `transformer, 6 layers, D 384, B 32, T ${tokens}`,
  encoder: reference,
  queries: { texts: 16, tokens },
  documents: { texts: 16, tokens },
  distinctTokens: 1500,
  steps,
});

/** Makes the case that computes the activations of each layer again. */
const checkpointed = (shape: StepCase): StepCase => ({
  ...shape,
  id: `${shape.id}-checkpointed`,
  title: `${shape.title}, gradient checkpointing`,
  gradientCheckpointing: true,
});

/** All step cases. */
export const STEP_CASES: readonly StepCase[] = [
  transformerCase(64, 20),
  transformerCase(128, 10),
  transformerCase(256, 5),
  checkpointed(transformerCase(256, 5)),
  {
    id: 'static',
    title: 'static, V 8192, D 256, 64 queries × 12 and 64 documents × 96 tokens',
    encoder: {
      model: { model_type: 'undrift-static', vocab_size: 8192, hidden_size: 256 },
      pooling: 'mean',
      normalize: true,
    },
    queries: { texts: 64, tokens: 12 },
    documents: { texts: 64, tokens: 96 },
    distinctTokens: 1500,
    steps: 200,
  },
];

const TEMPERATURE = 0.05;
const UPDATE = { learningRate: 1e-4, weightDecay: 0.01, maxGradientNorm: 1 };

/**
 * Runs whole training steps on synthetic tokens: batch to program inputs, forward, in-batch softmax
 * cross-entropy, backward, clipping, AdamW with lazy rows of the embedding table.
 */
export class TrainingStep {
  /** Number of parameters. */
  readonly parameters: number;
  private readonly program: Program;
  private readonly learner: Learner;
  private readonly feeder: TokenFeeds;
  private readonly shape: StepCase;
  private drawn = 0;

  private constructor(shape: StepCase, encoder: Encoder, program: Program, learner: Learner) {
    this.shape = shape;
    this.program = program;
    this.learner = learner;
    this.feeder = new TokenFeeds(encoder.vocabSize);
    this.parameters = encoder.specs.reduce((n, spec) => n + spec.shape.reduce((a, b) => a * b, 1), 0);
  }

  /** Compiles the step, with fresh weights. */
  static async create(shape: StepCase, options: ComputeOptions): Promise<TrainingStep> {
    const encoder = new Encoder(shape.encoder);
    const weights: Record<string, HostTensor> = {};
    for (const spec of encoder.specs)
      weights[spec.name] = hostTensor('f32', spec.shape, initialValue(spec, 1));
    const program = await Program.compile(stepGraph(shape, encoder), options);
    const learner = await Learner.create(encoder.specs, weights, adamw(), options);
    return new TrainingStep(shape, encoder, program, learner);
  }

  /**
   * Runs one step on a new batch.
   *
   * @returns  the loss
   */
  async run(): Promise<number> {
    const { queries, documents } = this.shape;
    const texts = queries.texts + documents.texts;
    const feeds = this.feeder.feeds(
      inOneBatch(this.shape)
        ? { texts: this.batch({ texts, tokens: queries.tokens }) }
        : { queries: this.batch(queries), documents: this.batch(documents) },
    );
    const results = await this.program.run(
      { ...this.learner.parameters, ...feeds },
      { into: this.learner.gradientBuffers },
    );
    await this.learner.apply(gradientsIn(results, feeds), UPDATE);
    return scalarValue(results.loss);
  }

  /** Releases the programs. */
  async dispose(): Promise<void> {
    await this.program.dispose();
    await this.learner.dispose();
  }

  /** Makes a batch of token ids. They cycle through `distinctTokens` ids spread over the whole vocabulary. */
  private batch({ texts, tokens }: TextShape): PaddedTokens {
    const { distinctTokens } = this.shape;
    const stride = Math.floor((this.shape.encoder.model.vocab_size as number) / distinctTokens);
    const ids = new Int32Array(texts * tokens);
    for (let i = 0; i < ids.length; i++) ids[i] = ((this.drawn++ * 7919) % distinctTokens) * stride;
    return { ids, mask: new Float32Array(ids.length).fill(1), batch: texts, tokens };
  }
}

/** Tests whether queries and documents have the same length and can share one batch of the encoder. */
const inOneBatch = ({ queries, documents }: StepCase): boolean => queries.tokens === documents.tokens;

/** Builds the graph of a dual encoder with shared weights, its loss and gradients. */
function stepGraph(shape: StepCase, encoder: Encoder): Graph {
  const graph = new Graph('training-step');
  const p = declareParameters(graph, encoder.specs);
  const tokens = (name: string, texts: Dim): TokenInputs => {
    const dims = [texts, `${name}Tokens`];
    const ids = graph.input(`${name}/ids`, 'i64', dims);
    return { ids, mask: graph.input(`${name}/mask`, 'f32', dims) };
  };
  const [B, C] = [shape.queries.texts, shape.documents.texts];
  let [queries, documents]: Tensor[] = [];
  if (inOneBatch(shape)) {
    const texts = encoder.embed(p.get, tokens('texts', B + C));
    queries = slice(texts, { axis: 0, start: 0, length: B });
    documents = slice(texts, { axis: 0, start: B, length: C });
  } else {
    const sides = (['queries', 'documents'] as const).map((side) => tokens(side, side));
    [queries, documents] = encoder.embedAll(p.get, sides);
  }
  const scores = matmul(queries!, documents!, { transB: true, alpha: 1 / TEMPERATURE });
  const loss = softmaxCrossEntropy(scores, range(graph, queries!.shape[0]!));
  graph.output('loss', loss);
  outputGradients(loss, { gradientCheckpointing: shape.gradientCheckpointing }, p.targets);
  return graph;
}

/**
 * Counts the floating-point operations of one step of a transformer. Counts 6 for each dense weight and token
 * (one multiplication and one addition in the forward pass, twice that in the backward pass), and the two
 * products of the attention. Returns 0 for a static encoder, whose step is not dominated by matrix products.
 */
export function stepFlops({ encoder: { model }, queries, documents }: StepCase): number {
  if (model.model_type !== 'bert') return 0;
  const { hidden_size, intermediate_size, num_hidden_layers } = model as unknown as Record<string, number>;
  const dense = num_hidden_layers! * (4 * hidden_size! ** 2 + 2 * hidden_size! * intermediate_size!);
  const tokens = queries.texts * queries.tokens + documents.texts * documents.tokens;
  const pairs = queries.texts * queries.tokens ** 2 + documents.texts * documents.tokens ** 2;
  return 6 * dense * tokens + num_hidden_layers! * 3 * 2 * 2 * pairs * hidden_size!;
}
