import { Graph } from '../../graph/graph.ts';
import { cast } from '../../graph/ops.ts';
import type { Retriever, Side } from '../../models/retriever/retriever.ts';
import { dropoutKeys, TokenFeeds } from '../../models/retriever/token-feeds.ts';
import type { StepResult } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { type PaddedBatch, padBatch } from '../../text/pad-batch.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { takePrefix } from '../../util/prefixes.ts';
import { rngKey } from '../../util/rng.ts';
import type { BatchTokens, MethodContext } from '../contract/method.ts';
import { lossOfEmbeddings, type ScoreLoss } from './score-loss.ts';

/** Candidates that queries are scored against. The columns of the scores are in the order of these fields. */
export interface Candidates {
  /** Whether the step embeds documents, with a gradient. Default true. */
  readonly embedded?: boolean;
  /**
   * Dtypes of further candidates by name. The step must feed their embeddings under this name, [<name>, D]; they are constants
   * and get no gradient. Default none.
   */
  readonly fed?: Readonly<Record<string, 'f32' | 'f16'>>;
}

/** Results of a step, and the embeddings that it computed, which a cache can write back. */
export interface ContrastiveResult extends StepResult {
  /** f32[B, D]: embeddings of the queries. */
  readonly queryEmbeddings: Float32Array;
  /** f32[C, D]: embeddings of the documents; empty where the step embeds none. */
  readonly documentEmbeddings: Float32Array;
}

/**
 * Step that all methods share: encodes B queries and C documents, scores all pairs, applies a loss, and differentiates it. A
 * method chooses the documents and the loss, and may add candidates that are embedded already.
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

  /**
   * Compiles the program of a step. By default the candidates are the documents that the step embeds.
   *
   * @param name  name of the graph, for messages
   * @param loss  builds the loss in the graph
   */
  static async compile(
    name: string,
    context: MethodContext,
    loss: ScoreLoss,
    { embedded = true, fed = {} }: Candidates = {},
  ): Promise<ContrastiveStep> {
    const { retriever, temperature, dropoutRatio, compute, precision = 'f32' } = context;
    const graph = new Graph(name);
    const declared = retriever.declare(graph, { specs: [...retriever.specs, ...temperature.specs] });
    const part = context.part?.declare(graph);
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
    } = lossOfEmbeddings(context, parts, declared.get, loss, part);
    graph.output('trainingLoss', trainingLoss);
    graph.output('interpretableLoss', interpretableLoss);
    graph.output('queryEmbeddings', queries);
    for (const [metric, value] of Object.entries(metrics)) graph.output(`metric/${metric}`, value);
    outputGradients(scaledLoss(trainingLoss, context), context, declared.targets, part?.targets ?? new Map());
    return new ContrastiveStep(
      context,
      await Program.compile(graph, { ...compute, precision, onNeed: context.onNeed }),
    );
  }

  /**
   * Computes loss and gradients of one batch.
   *
   * @param batch.queryRows  i32[B]: rows of the query corpus
   * @param batch.documentRows  i32[C]: rows of the document corpus, where the step embeds documents
   * @param batch.tokens  tokens to embed in place of the rows' own
   * @param batch.nullPassage  whether a document of empty text is embedded after the others. Default false
   * @param batch.inputs  inputs that the loss has declared, and embeddings of fed candidates
   * @param batch.draw  number of the batch in the run; together with the seed, it keys dropout
   */
  async run(batch: {
    queryRows: Int32Array;
    documentRows?: Int32Array;
    tokens?: BatchTokens | undefined;
    nullPassage?: boolean;
    inputs: Readonly<Record<string, HostTensor>>;
    draw: number;
  }): Promise<ContrastiveResult> {
    const { retriever, weights, gradientBuffers, queries, documents, seed, dropoutRatio, ledger } =
      this.context;
    ledger.queries(batch.queryRows.length);
    const padId = retriever.tokenizer.specialIds.pad ?? 0;
    const { queryRows, documentRows, tokens: own, nullPassage = false } = batch;
    const sides = [{ input: 'queries', ...inStore(queryRows, queries, own?.queries) }];
    if (documentRows) sides.push({ input: 'documents', ...inStore(documentRows, documents, own?.documents) });
    const padded: Record<string, PaddedBatch> = Object.fromEntries(
      sides.map(({ input, store, rows }) => [input, padBatch(store, rows, { padId })]),
    );
    if (nullPassage) padded.documents = withText(padded.documents!, emptyDocument(retriever), padId);
    const tokens = this.tokens.feeds(padded, { packed: retriever.encoder.packs });
    const feeds: Record<string, HostTensor> = {
      ...weights,
      ...tokens,
      ...batch.inputs,
      ...lossScaleFeeds(this.context),
    };
    if (dropoutRatio > 0) {
      for (const { input } of sides) {
        const texts = padded[input]!.batch;
        feeds[`${input}/dropout`] = dropoutKeys(rngKey(seed, batch.draw, `dropout/${input}`), texts);
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

  /** Frees the program. */
  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}

/** Returns the tokens of a document of empty text: the special tokens and the prompt of documents. */
const emptyDocument = (retriever: Retriever): ArrayLike<number> =>
  retriever.tokenize('document', 1, () => '').tokens(0);

/** Adds a text after the others of a padded batch. */
function withText(batch: PaddedBatch, text: ArrayLike<number>, padId: number): PaddedBatch {
  const tokens = Math.max(batch.tokens, text.length);
  const texts = batch.batch + 1;
  const ids = new Int32Array(texts * tokens).fill(padId);
  const mask = new Float32Array(texts * tokens);
  for (let row = 0; row < batch.batch; row++) {
    const own = (of: Int32Array | Float32Array) => of.subarray(row * batch.tokens, (row + 1) * batch.tokens);
    ids.set(own(batch.ids), row * tokens);
    mask.set(own(batch.mask), row * tokens);
  }
  ids.set(text, batch.batch * tokens);
  mask.fill(1, batch.batch * tokens, batch.batch * tokens + text.length);
  return { ids, mask, batch: texts, tokens };
}

/** Locates the tokens of rows: in the store that the rows index, or in order in a store of the batch. */
export const inStore = (rows: Int32Array, store: TokenStore, own: TokenStore | undefined) =>
  own ? { store: own, rows: rows.map((_, i) => i) } : { store, rows };
