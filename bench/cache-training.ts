import { tmpdir } from 'node:os';
import type {
  Method,
  MethodContext,
  MethodOptionValues,
  RunningMethod,
  TrainingBatch,
} from '../src/methods/contract/method.ts';
import { corrector } from '../src/methods/corrector.ts';
import { inBatch } from '../src/methods/in-batch.ts';
import { negativeCache } from '../src/methods/negative-cache.ts';
import type { TableMethod } from '../src/methods/table/table-method.ts';
import { createRetriever } from '../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { CostLedger } from '../src/objective/cost-ledger.ts';
import { Temperature } from '../src/objective/temperature.ts';
import { adamw } from '../src/optim/adamw.ts';
import { Learner } from '../src/runtime/learner.ts';
import { TokenStore } from '../src/text/token-store.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { optionValues } from '../src/util/option-table.ts';
import { fillTable } from './cache-table.ts';

/**
 * Encoder and batch of a training step. Two cases are the defaults of the command line, and a small one is
 * for runs of many steps.
 */
export interface TrainingCase {
  readonly id: string;
  readonly title: string;
  readonly kind: 'static' | 'transformer';
  readonly hidden: number;
  readonly batch: number;
  readonly queryTokens: number;
  readonly documentTokens: number;
}

/** All training cases. */
export const TRAINING_CASES: readonly TrainingCase[] = [
  {
    id: 'static',
    title: 'static, D 512, B 128, 12 and 96 tokens',
    kind: 'static',
    hidden: 512,
    batch: 128,
    queryTokens: 12,
    documentTokens: 96,
  },
  {
    id: 'transformer',
    title: 'transformer, 2 layers, D 256, B 32, 12 and 96 tokens',
    kind: 'transformer',
    hidden: 256,
    batch: 32,
    queryTokens: 12,
    documentTokens: 96,
  },
  {
    id: 'small',
    title: 'static, D 64, B 16, 12 and 32 tokens',
    kind: 'static',
    hidden: 64,
    batch: 16,
    queryTokens: 12,
    documentTokens: 32,
  },
];

/** Methods whose steps are timed, with their options. */
const METHODS = {
  'in-batch': { method: inBatch },
  'negative-cache': { method: negativeCache },
  corrector: { method: corrector },
  'corrector by an index': { method: corrector, options: { search: 'index' } },
} satisfies Record<string, { method: Method; options?: MethodOptionValues }>;
/** Name of a method whose steps are timed. */
export type TrainingMethod = keyof typeof METHODS;

const VOCABULARY = 8192;
const QUERIES = 4096;
const UPDATE = { learningRate: 1e-5, weightDecay: 0.01, maxGradientNorm: 1 };

/** Makes texts of one length with random tokens. */
function randomTexts(count: number, tokens: number): TokenStore {
  const ids = new Uint16Array(count * tokens);
  let state = 1;
  for (let i = 0; i < ids.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Ids start after those of the special tokens. The upper bits of the state are the random ones.
    ids[i] = 16 + ((state >>> 8) % (VOCABULARY - 16));
  }
  return TokenStore.of(new Int32Array(count).fill(tokens), ids);
}

/**
 * Training steps of several methods with one encoder, one set of weights and one synthetic corpus. The corpus
 * has as many documents as the cache has rows.
 */
export class CacheTraining {
  readonly ledger = new CostLedger();
  private readonly shape: TrainingCase;
  private readonly documents: number;
  private readonly context: MethodContext;
  private readonly learner: Learner;
  private readonly methods = new Map<string, RunningMethod>();
  private draw = 0;

  private constructor(
    shape: TrainingCase,
    parts: { documents: number; context: MethodContext; learner: Learner; ledger: CostLedger },
  ) {
    this.shape = shape;
    this.documents = parts.documents;
    this.context = parts.context;
    this.learner = parts.learner;
    this.ledger = parts.ledger;
  }

  static async create(
    shape: TrainingCase,
    { documents, threads }: { documents: number; threads: number },
  ): Promise<CacheTraining> {
    const tokenizer = Tokenizer.fromJson(
      trainVocabulary(['some words for a tokenizer that is never asked'], {
        model: 'wordpiece',
        vocabSize: 64,
        minFrequency: 1,
      }),
    );
    const { kind, hidden } = shape;
    const retriever: Retriever = createRetriever({ kind, tokenizer, hidden, vocabSize: VOCABULARY, seed: 1 });
    const temperature = new Temperature(0.05, { learned: false });
    const weights = { ...retriever.weights, ...temperature.weights };
    const compute = { threads };
    const learner = await Learner.create(retriever.specs, weights, adamw(), compute);
    const ledger = new CostLedger();
    const context: MethodContext = {
      retriever,
      weights,
      gradientBuffers: learner.gradientBuffers,
      queries: randomTexts(QUERIES, shape.queryTokens),
      documents: randomTexts(documents, shape.documentTokens),
      positives: (query) => Int32Array.of(query % documents),
      copies: () => [],
      temperature,
      dropoutRatio: 0,
      chunkSize: 32,
      seed: 1,
      compute,
      options: {},
      ledger,
      texts: { query: () => '', document: () => '' },
      examples: {
        queryRows: new Int32Array(0),
        positives: { offsets: new Uint32Array(1), rows: new Int32Array(0), grades: new Float32Array(0) },
      },
      folder: tmpdir(),
    };
    return new CacheTraining(shape, { documents, context, learner, ledger });
  }

  /**
   * Runs one whole step: batch, loss and gradients, update, cache.
   *
   * @returns  figures of the step, by name
   */
  async step(id: TrainingMethod): Promise<Readonly<Record<string, number>>> {
    const method = this.methods.get(id) ?? (await this.start(id));
    const { batch } = this.shape;
    const draw = this.draw++;
    const queryRows = Int32Array.from({ length: batch }, (_, i) => (draw * batch + i) % QUERIES);
    const examples: TrainingBatch = {
      queryRows,
      positiveRows: queryRows.map((query) => query % this.documents),
      negativeRows: new Int32Array(0),
    };
    const { gradients, metrics } = await this.ledger.time('step', () => method.step(examples, draw));
    await this.ledger.time('update', () => this.learner.apply(gradients, UPDATE));
    await this.ledger.time('refresh', () => method.updated(draw + 1));
    return metrics;
  }

  async dispose(): Promise<void> {
    for (const method of this.methods.values()) await method.dispose();
    await this.learner.dispose();
  }

  /**
   * Starts a method. A cache is filled with random embeddings, since encoding a million documents would take
   * longer than all measurements.
   */
  private async start(id: TrainingMethod): Promise<RunningMethod> {
    const { method, options: own = {} }: { method: Method; options?: MethodOptionValues } = METHODS[id];
    const keepsTable = 'cacheSize' in method.options;
    const size = keepsTable ? { cacheSize: this.documents } : {};
    const options = optionValues(method.options, { ...size, ...own });
    const running = await method.start({ ...this.context, options });
    if (keepsTable) fillTable((running as TableMethod).table);
    this.methods.set(id, running);
    return running;
  }
}
