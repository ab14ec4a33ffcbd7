import { join } from 'node:path';
import type { TrainingExamples } from '../src/data/examples.ts';
import { duplicateMap } from '../src/data/text-identity.ts';
import type { Method, MethodContext, RunningMethod } from '../src/methods/contract/method.ts';
import { resolveMethodOptions } from '../src/methods/contract/method-options.ts';
import type { MethodOptions } from '../src/methods/options.ts';
import { createRetriever, type NewRetrieverOptions } from '../src/models/retriever/create-retriever.ts';
import { Retriever } from '../src/models/retriever/retriever.ts';
import { isFrozen, type TuningOptions, tuned } from '../src/models/retriever/tuning.ts';
import { CostLedger } from '../src/objective/cost-ledger.ts';
import { Temperature } from '../src/objective/temperature.ts';
import { adamw } from '../src/optim/adamw.ts';
import type { Device } from '../src/runtime/devices.ts';
import type { HostTensor } from '../src/runtime/host-tensor.ts';
import { joinParameters } from '../src/runtime/join-parameters.ts';
import { Learner } from '../src/runtime/learner.ts';
import type { LossScale } from '../src/runtime/loss-scale.ts';
import type { TokenStore } from '../src/text/token-store.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { readCheckpoint, writeCheckpoint } from '../src/train/checkpoint.ts';
import { type StepReport, trainingLoop } from '../src/train/loop.ts';
import { Batches } from '../src/train/pair-batches.ts';
import { permutation, rngKey } from '../src/util/rng.ts';
import { tempFiles } from './temp-files.ts';
import { TEST_COMPUTE } from './test-device.ts';

/**
 * Number of queries. Queries 0 … 47 have the answers 0 … 47. The other documents answer no query, except for
 * those below.
 */
const QUERIES = 48;
const DOCUMENTS = 60;
const BATCH_SIZE = 8;
const LEARNING_RATE = 0.01;
/** Second right answer of query 2. */
export const SECOND_POSITIVE = { query: 2, document: 50 };
/** Documents with the text of another document, as [copy, original]. */
export const COPIES = new Map([
  [58, 0],
  [59, 1],
]);

/**
 * Makes the texts of a corpus that cannot be solved by word overlap. A document names three things in one
 * language, and its query names them in another. They share only one word, which a fifth of the corpus has.
 */
const text = (i: number, name: (word: number) => string): string =>
  [`part${i % 5}`, ...Array.from(permutation(rngKey(5, i, 'words'), 16).subarray(0, 3), name)].join(' ');
const documentText = (row: number) => text(COPIES.get(row) ?? row, (word) => `doc${word}x`);
const queryText = (row: number) => text(row, (word) => `ask${word}y`);

const positives = (query: number): Int32Array =>
  query === SECOND_POSITIVE.query ? Int32Array.of(query, SECOND_POSITIVE.document) : Int32Array.of(query);

/**
 * Training examples. The positive of each example is the query's first right answer. For methods on texts,
 * the queries are the documents themselves.
 */
const examples: TrainingExamples = {
  queryRows: Int32Array.from({ length: QUERIES }, (_, i) => i),
  positives: {
    offsets: Uint32Array.from({ length: QUERIES + 1 }, (_, i) => i),
    rows: Int32Array.from({ length: QUERIES }, (_, i) => i),
    grades: new Float32Array(QUERIES).fill(1),
  },
};

/**
 * Makes the texts for methods on texts. A document is on 3 of 12 topics and has the 3 words of each. A query
 * has one word of each topic and asks for the rest, so that the co-occurrence of words has to be learnt.
 */
const topicWords = (row: number, keep: (place: number) => boolean): string => {
  const key = (purpose: string) => rngKey(6, COPIES.get(row) ?? row, purpose);
  const words = [...permutation(key('topics'), 12).subarray(0, 3)].flatMap((topic) => [
    `doc${topic}x`,
    `ask${topic}y`,
    topic < 4 ? `part${topic}` : topic < 8 ? `doc${topic + 8}x` : `ask${topic + 4}y`,
  ]);
  return Array.from(permutation(key('order'), 9), (i) => (keep(i % 3) ? words[i]! : '')).join(' ');
};
const wholeText = (row: number) => topicWords(row, () => true);

/** Number of negatives for each query in `judgedExamples`, whose teacher knows the right answers. */
const NEGATIVES = 4;
const judgedExamples: TrainingExamples = {
  ...examples,
  positives: { ...examples.positives, scores: new Float32Array(QUERIES).fill(10) },
  negatives: {
    offsets: Uint32Array.from({ length: QUERIES + 1 }, (_, i) => NEGATIVES * i),
    rows: Int32Array.from({ length: NEGATIVES * QUERIES }, (_, at) => {
      const query = Math.floor(at / NEGATIVES);
      const others = [...permutation(rngKey(5, query, 'negatives'), DOCUMENTS)];
      return others.filter((row) => !rightAnswers(query).includes(row))[at % NEGATIVES]!;
    }),
    scores: Float32Array.from({ length: NEGATIVES * QUERIES }, (_, at) => (at % 3) - 2),
  },
};

/** Pairs with a score: each query with its answer (1) and with a negative (0). */
const scoredExamples: TrainingExamples = {
  queryRows: Int32Array.from({ length: 2 * QUERIES }, (_, i) => i >> 1),
  positives: {
    offsets: Uint32Array.from({ length: 2 * QUERIES + 1 }, (_, i) => i),
    rows: Int32Array.from({ length: 2 * QUERIES }, (_, i) =>
      i % 2 === 0 ? i >> 1 : judgedExamples.negatives!.rows[NEGATIVES * (i >> 1)]!,
    ),
    grades: new Float32Array(2 * QUERIES).fill(1),
    scores: Float32Array.from({ length: 2 * QUERIES }, (_, i) => 1 - (i % 2)),
  },
};

let tokenizer: Tokenizer | undefined;

/** Options of a toy run. */
export interface ToyOptions {
  /** Options of the method, checked and completed like those of a run. */
  options?: Partial<MethodOptions>;
  model?: Partial<NewRetrieverOptions>;
  /** Number of documents; default 60. */
  documents?: number;
  /** Parts of the model to train. The weights of the model are treated as given ones. */
  tuning?: TuningOptions & { besideAnother?: boolean };
  dropoutRatio?: number;
  temperature?: { initial: number; learned?: boolean };
  batchSize?: number;
  accumulate?: number;
  chunkSize?: number;
  learningRate?: number;
  seed?: number;
  threads?: number;
  device?: Device;
  /** Trains in f16 with this loss scale. */
  lossScale?: LossScale;
}

/** Small training run in memory, with the parts of a real one: loop, learner, batches, checkpoint. */
export class ToyRun {
  readonly context: MethodContext;
  readonly learner: Learner;
  readonly running: RunningMethod;
  private readonly settings: ToyOptions;
  readonly batches: Batches;
  /** Tokens for `exactLoss`. */
  private readonly measured: { queries: TokenStore; documents: TokenStore };

  private constructor(
    settings: ToyOptions,
    parts: {
      context: MethodContext;
      learner: Learner;
      running: RunningMethod;
      measured: ToyRun['measured'];
      negativesPerQuery: number;
    },
  ) {
    this.settings = settings;
    this.measured = parts.measured;
    this.context = parts.context;
    this.learner = parts.learner;
    this.running = parts.running;
    const { batchSize = BATCH_SIZE, seed = 1 } = settings;
    this.batches = new Batches(this.context.examples, this.context.documents, {
      batchSize,
      negativesPerQuery: parts.negativesPerQuery,
      seed,
    });
  }

  /** Starts a run and does the work before the first step. */
  static async begin(method: Method, settings: ToyOptions = {}): Promise<ToyRun> {
    const run = await ToyRun.start(method, settings);
    await run.running.begin();
    return run;
  }

  /** Starts a run and restores the state that another run has saved. Its initial weights are replaced. */
  static async resume(method: Method, settings: ToyOptions, folder: string): Promise<ToyRun> {
    const run = await ToyRun.start(method, settings);
    const checkpoint = await readCheckpoint(folder);
    run.learner.restore(checkpoint.step, checkpoint.parameters, checkpoint.optimizer);
    await run.running.restore(checkpoint.method);
    run.context.ledger.restore(checkpoint.ledger);
    return run;
  }

  private static async start(method: Method, settings: ToyOptions): Promise<ToyRun> {
    const { model, dropoutRatio = 0, seed = 1, chunkSize = 3, documents = DOCUMENTS } = settings;
    const fresh = makeRetriever({ seed, ...model });
    const retriever = settings.tuning ? tuned(asGiven(fresh), { seed, ...settings.tuning }) : fresh;
    const { initial, learned = false } = settings.temperature ?? { initial: 0.1 };
    const temperature = new Temperature(initial, { learned });
    const options = resolveMethodOptions(method, settings.options ?? {});
    const part = await method.openPart?.({ options, seed });
    const own = {
      specs: [...retriever.specs, ...temperature.specs],
      weights: { ...retriever.weights, ...temperature.weights },
    };
    const { specs, weights } = joinParameters({ '': own, ...(part && { [part.prefix]: part }) });
    const compute = { threads: settings.threads ?? 1, device: settings.device ?? TEST_COMPUTE.device };
    const learner = await Learner.create(specs, weights, adamw(), {
      ...compute,
      stayOnDevice: true,
      lossScale: settings.lossScale,
      ...(part && {
        groups: [
          {
            prefix: `${part.prefix}/`,
            learningRateRatio: part.lr / (settings.learningRate ?? LEARNING_RATE),
          },
        ],
      }),
    });
    const onTexts = method.trainsOn === 'texts';
    const whole = retriever.tokenizeWhole(DOCUMENTS, wholeText);
    const [asked, rest] = onTexts
      ? [(row: number) => topicWords(row, (i) => i === 0), (row: number) => topicWords(row, (i) => i > 0)]
      : [queryText, documentText];
    const measured = {
      queries: retriever.tokenize('query', QUERIES, asked),
      documents: retriever.tokenize('document', documents, rest),
    };
    const context: MethodContext = {
      retriever,
      weights,
      ...(part && { part }),
      gradientBuffers: learner.gradientBuffers,
      ...(onTexts ? { queries: whole, documents: whole } : measured),
      positives,
      copies: duplicateMap(onTexts ? whole : measured.documents),
      temperature,
      dropoutRatio,
      chunkSize,
      seed,
      compute,
      ...(settings.lossScale && { precision: 'f16' as const, lossScale: settings.lossScale }),
      options,
      ledger: new CostLedger(),
      texts: { query: queryText, document: documentText },
      ...(method.answers && { answers: (query: number) => [documentText(query)] }),
      examples: method.distils
        ? judgedExamples
        : method.trainsOn === 'scored-pairs'
          ? scoredExamples
          : examples,
      folder: tempFiles({}),
    };
    method.check?.({
      options: context.options,
      updates: 100,
      batchSize: settings.batchSize ?? BATCH_SIZE,
      accumulate: settings.accumulate ?? 1,
      negativesPerQuery: method.negatives ?? 0,
      chunkSize,
      dropoutRatio,
      documents,
      trainingQueries: QUERIES,
      dimension: retriever.dimension,
      frozenRetriever: isFrozen(retriever),
    });
    const negativesPerQuery = method.negatives ?? 0;
    const running = await method.start(context);
    return new ToyRun(settings, { context, learner, measured, running, negativesPerQuery });
  }

  /** Trains for `steps` more updates. */
  async train(steps: number): Promise<StepReport[]> {
    const { learner, running, batches, context, settings } = this;
    const reports: StepReport[] = [];
    const totalSteps = learner.step + steps;
    await trainingLoop(
      {
        learner,
        objective: running,
        batches,
        ledger: context.ledger,
        onStep: async (report) => {
          reports.push(structuredClone(report));
          return 'go on';
        },
      },
      {
        totalSteps,
        learningRate: settings.learningRate ?? LEARNING_RATE,
        schedule: { name: 'constant', warmupSteps: 0, totalSteps },
        weightDecay: 0.01,
        maxGradientNorm: 1,
        accumulate: settings.accumulate ?? 1,
      },
    );
    await learner.bringToHost();
    return reports;
  }

  /**
   * Writes a checkpoint.
   *
   * @returns  its folder
   */
  async save(): Promise<string> {
    const folder = join(tempFiles({}), 'run');
    await writeCheckpoint(folder, {
      step: this.learner.step,
      parameters: this.learner.parameters,
      frozen: null,
      optimizer: this.learner.state().tensors,
      method: this.running.state(),
      best: { value: null, step: 0, evaluationsSince: 0 },
      ledger: this.context.ledger.totals,
    });
    return folder;
  }

  /** Returns the whole state of the run, as hexadecimal bytes by name. */
  bytes(): Record<string, string> {
    const tensors = { ...this.context.weights, ...this.learner.state().tensors, ...this.running.state() };
    return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, hex(tensor)]));
  }

  /** Returns the ledger without times. */
  spent(): Record<string, number> {
    const totals = Object.entries(this.context.ledger.totals);
    return Object.fromEntries(totals.filter(([name]) => !name.endsWith('Ms')));
  }

  /**
   * Computes the cross-entropy over the whole corpus with fresh embeddings. Other right answers of a query
   * are left out.
   */
  async exactLoss(): Promise<number> {
    const { retriever, compute, temperature } = this.context;
    const { queries, documents } = this.measured;
    const [q, d] = [
      await retriever.encodeTokens('query', queries, compute),
      await retriever.encodeTokens('document', documents, compute),
    ];
    const D = retriever.dimension;
    let total = 0;
    for (let query = 0; query < QUERIES; query++) {
      const right = new Set(rightAnswers(query));
      const score = (document: number) => {
        let product = 0;
        for (let i = 0; i < D; i++) product += q[query * D + i]! * d[document * D + i]!;
        return product / temperature.value;
      };
      let sum = Math.exp(score(query));
      for (let document = 0; document < DOCUMENTS; document++)
        if (!right.has(document)) sum += Math.exp(score(document));
      total += Math.log(sum) - score(query);
    }
    return total / QUERIES;
  }

  async dispose(): Promise<void> {
    await this.running.dispose();
    await this.learner.dispose();
    await this.context.part?.dispose();
    await this.context.retriever.dispose();
  }
}

/** Lists the documents that must never be negatives of a query: known positives and their copies. */
export function rightAnswers(query: number): number[] {
  const known = [...positives(query)];
  const copies = [...COPIES].filter(([, of]) => known.includes(of)).map(([copy]) => copy);
  return [...known, ...copies];
}

/** Tokenizer of the texts of the toy corpus. */
export function toyTokenizer(): Tokenizer {
  const texts = [
    ...Array.from({ length: DOCUMENTS }, (_, row) => documentText(row)),
    ...Array.from({ length: QUERIES }, (_, row) => queryText(row)),
  ];
  tokenizer ??= Tokenizer.fromJson(
    trainVocabulary(texts, { model: 'wordpiece', vocabSize: 120, minFrequency: 1, alphabetLimit: 60 }),
  );
  return tokenizer;
}

function makeRetriever(options: Partial<NewRetrieverOptions>): Retriever {
  return createRetriever({
    kind: 'static',
    tokenizer: toyTokenizer(),
    hidden: 16,
    ...(options.kind === 'transformer' && { layers: 1, heads: 2, intermediate: 32 }),
    maxQueryTokens: 16,
    maxDocTokens: 16,
    ...options,
  });
}

/** Copies a retriever without the mark that it is newly made. */
const asGiven = ({ config, tokenizer, weights }: Retriever): Retriever =>
  new Retriever(config, tokenizer, { weights });

const hex = ({ data }: HostTensor): string =>
  Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength).toString('hex');
