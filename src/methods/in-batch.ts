import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { argMax, cast, equal, matmul, mean, range } from '../graph/ops.ts';
import { softmaxCrossEntropy } from '../losses/softmax-cross-entropy.ts';
import { TokenFeeds } from '../models/token-feeds.ts';
import { ROWS_INPUT } from '../nn/parameters.ts';
import { type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { gradientOutput } from '../runtime/learner.ts';
import { Program } from '../runtime/program.ts';
import { padBatch } from '../text/pad-batch.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import type { Method, MethodContext, RunningMethod, StepResult, TrainingBatch } from './method.ts';

/**
 * In-batch negatives: every other query's positive in the batch is a negative, and so are the negatives that the data gives.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over the batch's B + K documents
 *
 * A document that is a known positive of query i is not its negative: it is left out of i's sum.
 *
 * Cost per step: B + K document encodes, all fresh. Memory: activations of the whole batch. The quality of the negatives is
 * bounded by the batch size, which is what the caches of the other methods are for.
 */
export const inBatch: Method = {
  id: 'in-batch',
  aliases: ['MultipleNegativesRankingLoss', 'dpr', 'info-nce'],
  summary: 'softmax cross-entropy over the documents of the batch',
  paper: {
    title: 'Dense Passage Retrieval for Open-Domain Question Answering',
    year: 2020,
    url: 'https://arxiv.org/abs/2004.04906',
  },
  start: async (context) => new InBatch(context, await Program.compile(stepGraph(context), context.compute)),
};

/** Forward, loss and backward for one batch as a graph. */
function stepGraph({ retriever, temperature, dropoutRatio }: MethodContext): Graph {
  const graph = new Graph('in-batch');
  const { get: p, targets } = retriever.declare(graph, [...retriever.specs, ...temperature.specs]);
  const dropout =
    dropoutRatio > 0 ? { rateRatio: dropoutRatio, seed: graph.input('dropoutSeed', 'u32', []) } : undefined;
  const queries = retriever.embed(graph, p, 'query', { input: 'queries', dropout });
  const documents = retriever.embed(graph, p, 'document', { input: 'documents', dropout });
  const allowed = graph.input('allowed', 'bool', ['queries', 'documents']);

  const scores = temperature.divide(matmul(queries, documents, { transB: true }), p);
  const target = range(graph, 'queries');
  const loss = softmaxCrossEntropy(scores, target, { allowed });
  graph.output('loss', loss);
  graph.output('accuracy', mean(cast(equal(argMax(scores, { axis: 1 }), target), 'f32')));

  const gradients = backward(loss, [...targets.values()]);
  for (const [i, name] of [...targets.keys()].entries()) graph.output(gradientOutput(name), gradients[i]!);
  return graph;
}

class InBatch implements RunningMethod {
  private readonly context: MethodContext;
  private readonly program: Program;
  private readonly tokens: TokenFeeds;
  private readonly names: readonly string[];

  constructor(context: MethodContext, program: Program) {
    this.context = context;
    this.program = program;
    this.tokens = new TokenFeeds(context.retriever.encoder.vocabSize);
    this.names = Object.keys(context.weights);
  }

  async step({ queryRows, positiveRows, negativeRows }: TrainingBatch, draw: number): Promise<StepResult> {
    const { retriever, weights, gradientBuffers, queries, documents, seed, dropoutRatio } = this.context;
    const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
    const padId = retriever.tokenizer.specialIds.pad ?? 0;
    const tokens = this.tokens.feeds({
      queries: padBatch(queries, queryRows, { padId }),
      documents: padBatch(documents, documentRows, { padId }),
    });
    const feeds: Record<string, HostTensor> = {
      ...weights,
      ...tokens,
      allowed: this.allowed(queryRows, documentRows),
    };
    if (dropoutRatio > 0) {
      const word = new Uint32Array(1);
      randomInts(rngKey(seed, draw, 'dropout'), 2 ** 32, word);
      feeds.dropoutSeed = hostTensor('u32', [], word);
    }
    const outputs = await this.program.run(feeds, { into: gradientBuffers });
    const trainingLoss = scalarValue(outputs.loss, 'loss');
    const byName = Object.fromEntries(this.names.map((name) => [name, outputs[gradientOutput(name)]!]));
    return {
      gradients: { byName, rows: tokens[ROWS_INPUT] },
      trainingLoss,
      interpretableLoss: trainingLoss,
      metrics: { accuracy: scalarValue(outputs.accuracy, 'accuracy') },
    };
  }

  state(): Record<string, HostTensor> {
    return {};
  }

  restore(): void {}

  async dispose(): Promise<void> {
    await this.program.dispose();
  }

  /** bool[B, C]: all but the known positives of a query that are not its target in this batch. */
  private allowed(queryRows: Int32Array, documentRows: Int32Array): HostTensor {
    const [B, C] = [queryRows.length, documentRows.length];
    const allowed = new Uint8Array(B * C).fill(1);
    const columns = new Map<number, number[]>();
    for (const [column, row] of documentRows.entries()) {
      const list = columns.get(row);
      if (list) list.push(column);
      else columns.set(row, [column]);
    }
    for (const [i, queryRow] of queryRows.entries()) {
      for (const positive of this.context.positives(queryRow)) {
        for (const column of columns.get(positive) ?? []) if (column !== i) allowed[i * C + column] = 0;
      }
    }
    return hostTensor('bool', [B, C], allowed);
  }
}
