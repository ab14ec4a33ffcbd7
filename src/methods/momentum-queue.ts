import { staleness } from '../cache/diagnostics.ts';
import { inspectTable } from '../cache/inspect-table.ts';
import { maskedSlotLists, maskKnownPositives, mergeMasks } from '../cache/masks.ts';
import { ScoreTable } from '../cache/score-table.ts';
import { tableStaleness } from '../cache/table-staleness.ts';
import type { StepResult } from '../objective/objective.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { MovingAverage } from '../runtime/moving-average.ts';
import type { TokenStore } from '../text/token-store.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatBytes } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import {
  type OptionTable,
  type OptionValues,
  optionValues,
  pickOptions,
  withDefaults,
} from '../util/option-table.ts';
import { addPrefix, takePrefix } from '../util/prefixes.ts';
import { NONE } from '../util/vector-rows.ts';
import { batchDocuments, describeEncodes, inBatchNegatives } from './contract/describe-run.ts';
import type { Method, MethodContext, RunningMethod, RunPlan, TrainingBatch } from './contract/method.ts';
import { candidateSoftmax } from './step/candidate-softmax.ts';
import { ContrastiveStep, inStore } from './step/contrastive-step.ts';
import { allowedCandidates } from './step/known-positives.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';
import { checkBatchFits } from './table/check-table-plan.ts';
import { diagnosisProbe } from './table/diagnosis-probe.ts';
import { CACHE_OPTIONS, tableRows } from './table/table-options.ts';
import { TableProbe } from './table/table-probe.ts';

/** Options of methods with a slow encoder. */
export const MOMENTUM_OPTIONS = {
  /** Share of its weights that the slow encoder keeps at each update, m in [0, 1). */
  momentum: {
    type: 'number',
    min: 0,
    below: 1,
    default: 0.9,
    help: 'share of its weights that the slow encoder keeps at each update',
    group: 'Method',
  },
  /** Encoder of the positives: the slow one without a gradient (MoCo), or the trained one with a gradient. */
  positives: {
    type: 'choice',
    choices: ['momentum', 'fresh'],
    default: 'fresh',
    help: 'encoder of the positives: the slow one without a gradient (momentum), or the trained one (fresh)',
    group: 'Method',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...withDefaults(pickOptions(CACHE_OPTIONS, 'cacheSize', 'cacheStorage'), { cacheSize: 4096 }),
  ...MOMENTUM_OPTIONS,
  ...MATRYOSHKA_OPTIONS,
};

type QueueOptions = OptionValues<typeof OPTIONS>;

/**
 * Momentum contrast: a queue of embeddings of recent documents, all of which are negatives. A slow encoder makes them, so that
 * they go stale slowly; its weights θ̄ follow the trained weights θ:
 *
 *   θ̄ ← m θ̄ + (1 − m) θ                  after every update
 *   L = (1/B) Σ_i [ log Σ_j exp(s_ij) − s_ii ],     j over the B documents of the batch and the queue
 *
 * Embeddings of the queue are constants: no gradient goes through them. Right answers of a query are left out of its sum, in the
 * batch and in the queue. A document of the batch that is also in the queue counts once, as part of the batch. Rows that are not
 * filled yet are not candidates. After the update, the slow encoder's embeddings of the batch's positives enter the queue, and
 * the oldest rows leave it.
 *
 * With `positives` `momentum`, the batch's positives come from the slow encoder too, without a gradient, as in MoCo and
 * Contriever: the document side learns only where it shares its weights with the query side. With `fresh`, they come from the
 * trained encoder with a gradient, and the slow encoder embeds them again for the queue.
 *
 * Cost per step: B queries, B documents (`fresh`: 2 B), 4 B K D operations for scoring and its gradient, and one pass over the
 * document encoder's weights. Memory: K rows of D numbers, a second copy of these weights, two to three matrices [B, K].
 *
 * Differs from MoCo: the batch's other positives are negatives besides the queue, as in all methods here; the queue starts empty,
 * not with random vectors; a document is held once; the slow encoder runs without dropout.
 *
 * θ̄ is about 1 / (1 − m) updates behind θ. MoCo has K = 65,536 and m = 0.999, Contriever K = 131,072 and m = 0.9995, for
 * hundreds of thousands of updates. In runs of 716 updates (api-docs, static, `--batch-size 16 --epochs 2`, means of 3 seeds,
 * nDCG@10 of the test split) `fresh` gave 0.651 with m = 0.5, 0.674 with 0.9, 0.653 with 0.99; `momentum` gave 0.669 with 0.9,
 * 0.665 with 0.99; in-batch gave 0.650.
 */
export const momentumQueue: Method = {
  id: 'momentum-queue',
  aliases: ['moco'],
  summary:
    'negatives from a queue of embeddings that a slow encoder made, a moving average of the trained one',
  paper: {
    title: 'Momentum Contrast for Unsupervised Visual Representation Learning',
    year: 2020,
    url: 'https://arxiv.org/abs/1911.05722',
  },
  options: OPTIONS,
  check: ({ options, batchSize, documents }) =>
    checkBatchFits({ batchSize, documents }, tableRows(optionValues(OPTIONS, options).cacheSize, documents)),
  describe,
  start: (context) => MomentumQueue.start(context),
};

function describe(plan: RunPlan): string[] {
  const { cacheSize, cacheStorage, momentum, positives } = optionValues(OPTIONS, plan.options);
  const rows = tableRows(cacheSize, plan.documents);
  const bytes = formatBytes(rows * plan.dimension * (cacheStorage === 'f16' ? 2 : 4));
  const slow = positives === 'momentum' ? 'positives and queue come' : 'the queue comes';
  return [
    `${inBatchNegatives(plan)}, and a queue of up to ${count(rows)} recent documents ` +
      `(${count(rows)} × ${count(plan.dimension)} ${cacheStorage}, ${bytes})`,
    `${slow} from a slow encoder, an average over about ${count(Math.round(1 / (1 - momentum)))} updates`,
    describeEncodes(plan, {
      perBatch: batchDocuments(plan) + (positives === 'fresh' ? plan.batchSize : 0),
    }),
  ];
}

/** Embeddings by the slow encoder that enter the queue after the next update. */
interface Keys {
  readonly documents: Int32Array;
  /** f32[documents, D] */
  readonly embeddings: Float32Array;
}

class MomentumQueue implements RunningMethod {
  private readonly context: MethodContext;
  private readonly isFresh: boolean;
  private readonly queue: ScoreTable;
  private readonly slow: MovingAverage;
  private readonly contrastive: ContrastiveStep;
  private readonly probe: TableProbe;
  private made: Keys[] = [];

  private constructor(
    context: MethodContext,
    options: QueueOptions,
    parts: { slow: MovingAverage; contrastive: ContrastiveStep },
  ) {
    const { retriever, documents, ledger } = context;
    this.context = context;
    this.isFresh = options.positives === 'fresh';
    this.slow = parts.slow;
    this.contrastive = parts.contrastive;
    this.queue = new ScoreTable({
      rows: tableRows(options.cacheSize, documents.rows),
      dimension: retriever.dimension,
      documents: documents.rows,
      storage: options.cacheStorage,
      eviction: 'fifo',
    });
    ledger.cache(this.queue.bytes);
    this.probe = new TableProbe(context, { table: this.queue });
  }

  static async start(context: MethodContext): Promise<MomentumQueue> {
    const options = optionValues(OPTIONS, context.options);
    const { retriever, compute } = context;
    const isFresh = options.positives === 'fresh';
    if (!isFresh && retriever.config.towers === 'separate') {
      throw new UsageError(
        `with ${option('positives', 'momentum')} the document encoder gets no gradient of its own`,
        {
          help: `use ${option('positives', 'fresh')}, or one encoder for both sides (${option('towers', 'shared')})`,
        },
      );
    }
    // Frozen weights need no average.
    const slow = await MovingAverage.create(retriever.trainedWeights('document'), options.momentum, compute);
    const queue = options.cacheStorage;
    const contrastive = await ContrastiveStep.compile('momentum-queue', context, candidateSoftmax, {
      embedded: isFresh,
      fed: isFresh ? { queue } : { keys: 'f32', queue },
    });
    return new MomentumQueue(context, options, { slow, contrastive });
  }

  async begin(): Promise<void> {}

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, queue, isFresh } = this;
    const { ledger } = context;
    const { queryRows, positiveRows, negativeRows, tokens } = batch;
    const B = queryRows.length;
    const D = queue.dimension;
    const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
    ledger.documents('positive', B);
    ledger.documents('negative', negativeRows.length);
    if (isFresh) ledger.documents('refresh', B);
    const keyed = isFresh ? positiveRows : documentRows;
    const keys = await ledger.time(isFresh ? 'refresh' : 'step', () =>
      this.encodeSlowly(keyed, tokens?.documents),
    );
    const masked = this.maskedSlots(batch, documentRows);
    const inputs = {
      queue: queue.block(0, queue.filled),
      allowed: allowedCandidates(queryRows, documentRows, {
        positives: context.positives,
        duplicates: context.copies,
        table: { filled: queue.filled, masked },
      }),
      ...(!isFresh && { keys: hostTensor('f32', [keyed.length, D], keys) }),
    };
    // Forward pass, and gradient of the queries.
    ledger.scoring(4 * B * queue.filled * D);
    const result = await this.contrastive.run({
      queryRows,
      tokens,
      inputs,
      draw,
      ...(isFresh && { documentRows }),
    });
    const own = { documents: positiveRows, embeddings: keys.subarray(0, B * D) };
    const newest = isFresh ? result.documentEmbeddings.subarray(0, B * D) : own.embeddings;
    // Another part of a document is another text: the distance of its embeddings is no measure of age.
    const distance = tokens ? undefined : tableStaleness(queue, positiveRows, newest);
    this.made.push(own);
    return {
      ...result,
      metrics: {
        ...result.metrics,
        ...(distance !== undefined && { staleness: distance }),
        ...(isFresh && { slowEncoderDistance: staleness(own.embeddings, newest, D) }),
        maskedRatio: masked.slots.length / (B * Math.max(1, queue.filled)),
      },
    };
  }

  async updated(): Promise<Readonly<Record<string, number>>> {
    const { queue, slow, context } = this;
    await context.ledger.time('update', () => slow.update());
    for (const { documents, embeddings } of this.made) queue.insert(documents, embeddings);
    this.made = [];
    queue.tick();
    return {};
  }

  inspect(): Readonly<Record<string, number>> {
    return inspectTable(this.queue);
  }

  async diagnose(pairs = diagnosisProbe(this.context)): Promise<Readonly<Record<string, number>>> {
    return await this.probe.run(pairs);
  }

  state(): Readonly<Record<string, HostTensor>> {
    return {
      ...addPrefix('queue/', this.queue.state()),
      ...addPrefix('slow/', this.slow.weights),
      ...this.probe.state(),
    };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.queue.restore(takePrefix('queue/', state));
    this.slow.restore(takePrefix('slow/', state));
    this.probe.restore(state);
  }

  async dispose(): Promise<void> {
    await this.slow.dispose();
    await this.contrastive.dispose();
  }

  /** Embeds documents by θ̄, without dropout: f32[documents, D]. */
  private async encodeSlowly(
    documents: Int32Array,
    own: TokenStore | undefined,
  ): Promise<Float32Array<ArrayBuffer>> {
    const { retriever, compute } = this.context;
    const { store, rows } = inStore(documents, this.context.documents, own);
    const out = new Float32Array(documents.length * retriever.dimension);
    await retriever.encodeTokens('document', store, {
      ...compute,
      rows: Uint32Array.from(rows),
      weights: this.slow.weights,
      out,
    });
    return out;
  }

  /**
   * Lists the slots that take no part: for each query those of its right answers, and for all queries those of documents that the
   * batch holds itself.
   */
  private maskedSlots({ queryRows, positiveRows }: TrainingBatch, documentRows: Int32Array) {
    const { queue } = this;
    const { positives, copies: duplicates } = this.context;
    const known = maskKnownPositives(queue, queryRows, { positives, positiveRows, duplicates });
    const twice = queue.slotsOf(documentRows).filter((slot) => slot !== NONE);
    return twice.length === 0
      ? known
      : mergeMasks(
          known,
          maskedSlotLists(queryRows.length, () => twice),
        );
  }
}
