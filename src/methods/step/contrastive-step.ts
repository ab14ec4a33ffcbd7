import { Graph } from '../../graph/graph.ts';
import { cast } from '../../graph/ops.ts';
import type { Side } from '../../models/retriever/retriever.ts';
import { dropoutKeys, TokenFeeds } from '../../models/retriever/token-feeds.ts';
import type { StepResult } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { padBatch } from '../../text/pad-batch.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { takePrefix } from '../../util/prefixes.ts';
import { rngKey } from '../../util/rng.ts';
import type { BatchTokens, MethodContext } from '../contract/method.ts';
import { lossOfEmbeddings, type ScoreLoss } from './score-loss.ts';

/** What queries are scored against; the columns of the scores are in this order. */
export interface Candidates {
  /** Whether documents are embedded in the step, with a gradient. Default true. */
  readonly embedded?: boolean;
  /** Candidates whose embeddings are fed as [<name>, D] of this dtype under this name: constants, no gradient goes to them. */
  readonly fed?: Readonly<Record<string, 'f32' | 'f16'>>;
}

/** A step's results, and the embeddings that it made on the way: what a cache writes back. */
export interface ContrastiveResult extends StepResult {
  /** f32[B, D] */
  readonly queryEmbeddings: Float32Array;
  /** f32[C, D]; nothing where no documents are embedded */
  readonly documentEmbeddings: Float32Array;
}

/**
 * The part that all methods share: encode B queries and C documents, score all pairs, apply a loss, differentiate. A method
 * chooses the documents and the loss, and may add candidates that are embedded already.
 */
export class ContrastiveStep {
  private readonly context: MethodContext;
  private readonly program: Program;
  private readonly tokens: TokenFeeds;

  private constructor(context: MethodContext, program: Program) {
    this.context = context;
    this.program = program;
    this.tokens = new TokenFeeds(context.retriever.encoder.vocabSize);
  }

  static async compile(
    name: string,
    context: MethodContext,
    loss: ScoreLoss,
    { embedded = true, fed = {} }: Candidates = {},
  ): Promise<ContrastiveStep> {
    const { retriever, temperature, dropoutRatio, compute, precision = 'f32' } = context;
    const graph = new Graph(name);
    const declared = retriever.declare(graph, { specs: [...retriever.specs, ...temperature.specs] });
    const sides: Record<string, Side> = { queries: 'query', ...(embedded && { documents: 'document' }) };
    const embeddings = retriever.embedSides(declared, sides, { dropoutRatio, packed: true });
    const [queries, documents] = [embeddings.queries!, embeddings.documents];
    if (documents) graph.output('documentEmbeddings', documents);
    const constants = Object.entries(fed).map(([name, dtype]) => {
      const embeddings = graph.input(name, dtype, [name, retriever.dimension]);
      return [name, cast(embeddings, 'f32')] as const;
    });
    const parts = { queries, documents, fed: Object.fromEntries(constants) };
    const {
      trainingLoss,
      interpretableLoss = trainingLoss,
      metrics = {},
    } = lossOfEmbeddings(context, parts, declared.get, loss);
    graph.output('trainingLoss', trainingLoss);
    graph.output('interpretableLoss', interpretableLoss);
    graph.output('queryEmbeddings', queries);
    for (const [metric, value] of Object.entries(metrics)) graph.output(`metric/${metric}`, value);
    outputGradients(scaledLoss(trainingLoss, context), declared.targets);
    return new ContrastiveStep(context, await Program.compile(graph, { ...compute, precision }));
  }

  /**
   * @param batch.queryRows  B rows of the query corpus
   * @param batch.documentRows  C rows of the corpus, where documents are embedded
   * @param batch.tokens  tokens to embed in place of the rows' own
   * @param batch.inputs  what the loss declared, and embeddings of fed candidates
   * @param batch.draw  number of this batch in the run: with the seed it keys dropout
   */
  async run(batch: {
    queryRows: Int32Array;
    documentRows?: Int32Array;
    tokens?: BatchTokens | undefined;
    inputs: Readonly<Record<string, HostTensor>>;
    draw: number;
  }): Promise<ContrastiveResult> {
    const { retriever, weights, gradientBuffers, queries, documents, seed, dropoutRatio, ledger } =
      this.context;
    ledger.queries(batch.queryRows.length);
    const padId = retriever.tokenizer.specialIds.pad ?? 0;
    const { queryRows, documentRows, tokens: own } = batch;
    const sides = [{ input: 'queries', ...inStore(queryRows, queries, own?.queries) }];
    if (documentRows) sides.push({ input: 'documents', ...inStore(documentRows, documents, own?.documents) });
    const padded = sides.map(({ input, store, rows }) => [input, padBatch(store, rows, { padId })]);
    const tokens = this.tokens.feeds(Object.fromEntries(padded), { packed: retriever.encoder.packs });
    const feeds: Record<string, HostTensor> = {
      ...weights,
      ...tokens,
      ...batch.inputs,
      ...lossScaleFeeds(this.context),
    };
    if (dropoutRatio > 0) {
      for (const { input, rows } of sides) {
        feeds[`${input}/dropout`] = dropoutKeys(rngKey(seed, batch.draw, `dropout/${input}`), rows.length);
      }
    }
    const outputs = await this.program.run(feeds, { into: gradientBuffers });
    return {
      gradients: gradientsIn(outputs, tokens),
      trainingLoss: scalarValue(outputs.trainingLoss, 'trainingLoss'),
      interpretableLoss: scalarValue(outputs.interpretableLoss, 'interpretableLoss'),
      metrics: Object.fromEntries(
        Object.entries(takePrefix('metric/', outputs)).map(([name, value]) => [
          name,
          scalarValue(value, name),
        ]),
      ),
      queryEmbeddings: float32(outputs.queryEmbeddings),
      documentEmbeddings: outputs.documentEmbeddings
        ? float32(outputs.documentEmbeddings)
        : new Float32Array(0),
    };
  }

  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}

/** Where the tokens of rows are: in the store that they are rows of, or one after the other in a store of the batch. */
export const inStore = (rows: Int32Array, store: TokenStore, own: TokenStore | undefined) =>
  own ? { store: own, rows: rows.map((_, i) => i) } : { store, rows };
