import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { add } from '../graph/ops.ts';
import type { Side } from '../models/retriever/retriever.ts';
import { dropoutKeys, TokenFeeds } from '../models/retriever/token-feeds.ts';
import { ROWS_INPUT } from '../nn/parameters.ts';
import { defineObjective, type StepResult } from '../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../objective/scaled-loss.ts';
import { setZero } from '../runtime/device-memory.ts';
import { gradientOutput } from '../runtime/gradients.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { padBatch } from '../text/pad-batch.ts';
import { plural } from '../util/format.ts';
import { takePrefix } from '../util/prefixes.ts';
import { rngKey } from '../util/rng.ts';
import { batchDocuments, describeEncodes, inBatchNegatives } from './contract/describe-run.ts';
import { BATCH_LOSSES } from './contract/loss-names.ts';
import type { Method, MethodContext, TrainingBatch } from './contract/method.ts';
import { BATCH_LOSS_OPTIONS, type BatchLoss, batchLoss, checkBatchLoss } from './step/batch-loss.ts';
import { lossOfEmbeddings, type ScoreLoss } from './step/score-loss.ts';

/**
 * Gradient caching: the exact in-batch gradient of a large batch in the memory of a small one.
 *
 *   1. encode all texts in chunks, without keeping what a gradient needs                → q [B, D], d [C, D]
 *   2. loss and its gradient with respect to the embeddings alone                       → ∂L/∂q, ∂L/∂d
 *   3. chunk by chunk: encode again, go back from ∂L/∂(embedding), add up over chunks   → ∂L/∂θ
 *
 * Dropout masks are functions of the text's key: both passes draw the same masks, and the result does not depend on the chunk
 * size.
 *
 * Cost per step: two forward passes and one backward pass, instead of one of each. Memory: activations of one chunk.
 */
export const gradCache: Method = {
  id: 'grad-cache',
  aliases: ['CachedMultipleNegativesRankingLoss', 'gradient-cache'],
  summary: 'in-batch negatives of a large batch, in the memory of a small one',
  paper: {
    title: 'Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup',
    year: 2021,
    url: 'https://arxiv.org/abs/2101.06983',
  },
  options: BATCH_LOSS_OPTIONS,
  losses: BATCH_LOSSES,
  check: ({ options }) => checkBatchLoss(options),
  describe: (plan) => [
    `${inBatchNegatives(plan)}; every text is embedded twice, ${plural(plan.chunkSize, 'text')} at once`,
    describeEncodes(plan, { perBatch: 2 * batchDocuments(plan) }),
  ],
  start: async (context) => {
    const { compute, precision = 'f32', onNeed } = context;
    const encoding = { ...compute, precision, onNeed };
    const loss = await batchLoss(context);
    const programs = {
      loss: await Program.compile(lossGraph(context, loss.loss), compute),
      encode: await bothSides((side) => Program.compile(encodeGraph(context, side), encoding)),
      // A side that is entirely frozen needs no backward pass.
      backward: await bothSides(async (side) =>
        trainedSpecs(context, side).length > 0
          ? await Program.compile(backwardGraph(context, side), encoding)
          : undefined,
      ),
    };
    const cache = new GradCache(context, programs, loss);
    return {
      ...defineObjective({
        step: (batch, draw) => cache.step(batch, draw),
        dispose: () => cache.dispose(),
      }),
      state: () => loss.state(),
      restore: async (state) => loss.restore(state),
    };
  },
};

type BothSides<T> = Record<Side, T>;
interface Programs {
  loss: Program;
  encode: BothSides<Program>;
  backward: BothSides<Program | undefined>;
}

const bothSides = async <T>(make: (side: Side) => Promise<T>): Promise<BothSides<T>> => ({
  query: await make('query'),
  document: await make('document'),
});

/** Inputs that `TokenFeeds` makes for a batch. */
const TEXT_INPUTS = ['ids', 'mask'];
const PACKING_INPUTS = ['places', 'slots', 'kept'];

/** Lists the parameters of one side's tower. */
const towerSpecs = ({ retriever }: MethodContext, side: Side) =>
  retriever.specs.filter(({ name }) => name.startsWith(`${retriever.prefix(side)}/`));

const trainedSpecs = (context: MethodContext, side: Side) =>
  towerSpecs(context, side).filter(({ frozen }) => !frozen);

/** Embeds one chunk of a side in a graph: f32[texts, D], as training computes it. */
function embedChunk(graph: Graph, context: MethodContext, side: Side) {
  const { retriever, dropoutRatio } = context;
  const declared = retriever.declare(graph, { specs: towerSpecs(context, side) });
  return {
    embedding: retriever.embed(declared, side, { input: 'texts', dropoutRatio, packed: true }),
    targets: declared.targets,
  };
}

function encodeGraph(context: MethodContext, side: Side): Graph {
  const graph = new Graph(`grad-cache/encode-${side}`);
  graph.output('embedding', embedChunk(graph, context, side).embedding);
  return graph;
}

/**
 * Builds the graph that adds a chunk's ∂L/∂θ, from its ∂L/∂(embedding), to the sum over earlier chunks. Only trained parameters
 * have a sum.
 */
function backwardGraph(context: MethodContext, side: Side): Graph {
  const graph = new Graph(`grad-cache/backward-${side}`);
  const { embedding, targets } = embedChunk(graph, context, side);
  const seed = graph.input('embeddingGradient', 'f32', embedding.shape);
  const { gradientCheckpointing: checkpointing } = context;
  const gradients = backward(embedding, [...targets.values()], { seed, checkpointing });
  for (const [i, name] of [...targets.keys()].entries()) {
    const total = graph.input(`total/${name}`, 'f32', gradients[i]!.shape);
    graph.output(gradientOutput(name), add(total, gradients[i]!));
  }
  return graph;
}

function lossGraph(context: MethodContext, of: ScoreLoss): Graph {
  const { temperature, retriever } = context;
  const graph = new Graph('grad-cache/loss');
  const queries = graph.input('queries', 'f32', ['queries', retriever.dimension]);
  const documents = graph.input('documents', 'f32', ['documents', retriever.dimension]);
  const own = temperature.specs.map(({ name, shape }) => [name, graph.input(name, 'f32', shape)] as const);
  const p = new Map(own);
  const parts = lossOfEmbeddings(context, { queries, documents }, (name) => p.get(name)!, of);
  const { trainingLoss: loss, interpretableLoss = loss, metrics = {} } = parts;
  graph.output('loss', loss);
  graph.output('interpretableLoss', interpretableLoss);
  for (const [metric, value] of Object.entries(metrics)) graph.output(`metric/${metric}`, value);
  const names = ['queriesGradient', 'documentsGradient', ...own.map(([name]) => gradientOutput(name))];
  const gradients = backward(scaledLoss(loss, context), [
    queries,
    documents,
    ...own.map(([, tensor]) => tensor),
  ]);
  for (const [i, name] of names.entries()) graph.output(name, gradients[i]!);
  return graph;
}

class GradCache {
  private readonly context: MethodContext;
  private readonly programs: Programs;
  private readonly tokens: TokenFeeds;
  private readonly loss: BatchLoss;

  constructor(context: MethodContext, programs: Programs, loss: BatchLoss) {
    this.context = context;
    this.programs = programs;
    this.tokens = new TokenFeeds(context.retriever.encoder.vocabSize);
    this.loss = loss;
  }

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, programs } = this;
    const { queryRows, positiveRows, negativeRows } = batch;
    const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
    const { chunks, rows } = this.chunks(queryRows, documentRows, draw);
    // Every text is embedded twice.
    context.ledger.queries(2 * queryRows.length);
    context.ledger.documents('positive', 2 * positiveRows.length);
    context.ledger.documents('negative', 2 * negativeRows.length);

    const D = context.retriever.dimension;
    const embeddings = {
      query: new Float32Array(queryRows.length * D),
      document: new Float32Array(documentRows.length * D),
    };
    for (const { side, start, feeds } of chunks) {
      const { embedding } = await programs.encode[side].run({ ...this.weightsOf(side), ...feeds });
      embeddings[side].set(float32(embedding), start * D);
    }

    const { temperature, weights } = context;
    const gradients: Record<string, HostTensor> = {};
    for (const { name } of temperature.specs) gradients[name] = weights[name]!;
    const loss = await programs.loss.run({
      queries: hostTensor('f32', [queryRows.length, D], embeddings.query),
      documents: hostTensor('f32', [documentRows.length, D], embeddings.document),
      ...(await this.loss.inputs(batch, documentRows)),
      ...gradients,
      ...lossScaleFeeds(context),
    });
    for (const { name } of temperature.specs) gradients[name] = loss[gradientOutput(name)]!;
    const seeds = { query: float32(loss.queriesGradient), document: float32(loss.documentsGradient) };

    const totals = this.zeroGradients(rows.data.length);
    for (const { side, start, texts, feeds } of chunks) {
      const program = programs.backward[side];
      if (!program) continue;
      const embeddingGradient = hostTensor(
        'f32',
        [texts, D],
        seeds[side].slice(start * D, (start + texts) * D),
      );
      const specs = trainedSpecs(context, side);
      const sums = Object.fromEntries(specs.map(({ name }) => [`total/${name}`, totals[name]!]));
      // Each sum is read once, by the addition that writes it.
      const into = Object.fromEntries(specs.map(({ name }) => [gradientOutput(name), totals[name]!]));
      await program.run({ ...this.weightsOf(side), ...feeds, ...sums, embeddingGradient }, { into });
    }
    const trainingLoss = scalarValue(loss.loss, 'loss');
    return {
      gradients: { byName: { ...totals, ...gradients }, rows: { [ROWS_INPUT]: rows } },
      trainingLoss,
      interpretableLoss: scalarValue(loss.interpretableLoss, 'interpretableLoss'),
      metrics: Object.fromEntries(
        Object.entries(takePrefix('metric/', loss)).map(([name, value]) => [name, scalarValue(value, name)]),
      ),
    };
  }

  async dispose(): Promise<void> {
    await this.loss.dispose();
    const { loss, encode, backward } = this.programs;
    for (const program of [loss, ...Object.values(encode), ...Object.values(backward)])
      await program?.dispose();
  }

  /** Cuts the batch into chunks. All of them index one list of table rows, so that their gradients add up. */
  private chunks(queryRows: Int32Array, documentRows: Int32Array, draw: number) {
    const { retriever, queries, documents, seed, dropoutRatio, chunkSize } = this.context;
    const padId = retriever.tokenizer.specialIds.pad ?? 0;
    const pieces = [
      { side: 'query' as const, input: 'queries', store: queries, rows: queryRows },
      { side: 'document' as const, input: 'documents', store: documents, rows: documentRows },
    ].flatMap(({ side, input, store, rows }) =>
      Array.from({ length: Math.ceil(rows.length / chunkSize) }, (_, i) => {
        const start = i * chunkSize;
        const part = rows.subarray(start, start + chunkSize);
        return { side, input, start, texts: part.length, padded: padBatch(store, part, { padId }) };
      }),
    );
    const batches = Object.fromEntries(pieces.map(({ padded }, i) => [`${i}`, padded]));
    const { packs: packed } = retriever.encoder;
    const all = this.tokens.feeds(batches, { packed });
    const inputs = packed ? [...TEXT_INPUTS, ...PACKING_INPUTS] : TEXT_INPUTS;
    const rows = all[ROWS_INPUT]!;
    const chunks = pieces.map(({ side, input, start, texts }, i) => ({
      side,
      start,
      texts,
      feeds: {
        [ROWS_INPUT]: rows,
        ...Object.fromEntries(inputs.map((input) => [`texts/${input}`, all[`${i}/${input}`]!])),
        ...(dropoutRatio > 0 && {
          'texts/dropout': dropoutKeys(rngKey(seed, draw, `dropout/${input}`), texts, start),
        }),
      },
    }));
    return { chunks, rows };
  }

  private weightsOf(side: Side): Record<string, HostTensor> {
    return Object.fromEntries(
      towerSpecs(this.context, side).map(({ name }) => [name, this.context.weights[name]!]),
    );
  }

  /**
   * Makes the sums that chunks add to, all 0: the learner's buffers for dense parameters, new arrays for the touched rows of
   * lookup tables.
   */
  private zeroGradients(touchedRows: number): Record<string, HostTensor> {
    const { retriever, gradientBuffers } = this.context;
    const trained = retriever.specs.filter(({ frozen }) => !frozen);
    return Object.fromEntries(
      trained.map(({ name, shape, lookup }) => {
        if (lookup) {
          const dims = [touchedRows, shape[1]!];
          return [name, hostTensor('f32', dims, new Float32Array(touchedRows * shape[1]!))];
        }
        const buffer = gradientBuffers[gradientOutput(name)]!;
        setZero(buffer);
        return [name, buffer];
      }),
    );
  }
}
