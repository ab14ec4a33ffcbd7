import type { AnswersOf } from '../../data/answers.ts';
import type { DataInMemory } from '../../data/data-in-memory.ts';
import type { TrainingExamples } from '../../data/examples.ts';
import type { LoadOptions } from '../../data/load-options.ts';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import type { Method } from '../../methods/contract/method.ts';
import type { Retriever, TokenizeOptions } from '../../models/retriever/retriever.ts';
import type { RetrieverEvaluation } from '../../retrieval/evaluate-retriever.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { Progress } from '../../util/progress.ts';

/** Data of a run. */
export interface TrainingData {
  /** Data to train on. */
  readonly data: RetrievalData;
  /** Data with the splits on which the encoder can be evaluated during training. */
  readonly evaluation: RetrievalData;
}

/** Token ids of the texts of both sides. */
export interface SideTokens {
  /** Tokens of all queries, by row. */
  readonly queries: TokenStore;
  /** Tokens of all documents, by row. */
  readonly documents: TokenStore;
}

/** Training examples that a method can use. */
export interface UsableExamples {
  /** Examples to train on. */
  readonly examples: TrainingExamples;
  /** Note with the number of examples that were left out, and the reason; absent where none were. */
  readonly note?: string;
}

/** Receiver of what an evaluation has found. */
export interface RankingTaker {
  /** Least number of documents to find for each query. */
  readonly depth: number;
  /** Called with the evaluation. */
  take(evaluation: RetrieverEvaluation): void;
}

/** Settings of a run on which its examples depend. */
export interface ExampleSettings {
  readonly data: string;
  readonly evalSplit: string;
  readonly evalMetric: string;
  readonly loss: string | null;
}

/**
 * Kind of training example: how its data is read, tokenised and evaluated on, and what messages call its parts. A method names
 * its kind by `trainsOn`.
 */
export interface ExampleKind {
  /** Nouns for messages: the texts of the corpus, the examples, and the rows of a batch. */
  readonly nouns: { readonly texts: string; readonly examples: string; readonly batch: string };
  /** Default batch size, in examples; absent where the model decides. */
  readonly batchSize?: number;
  /** Default split to evaluate on. */
  readonly evalSplit: string;
  /** Splits that the kind adds to those of the data. */
  readonly ownSplits: readonly string[];
  /** Default metric that decides which model is the best. */
  readonly evalMetric: string;
  /**
   * Checks that this kind of example has a metric.
   *
   * @throws UsageError where it does not
   */
  checkMetric(metric: string): void;
  /**
   * Reads the data of a run, and other data to evaluate on if there is any: paths, or data in memory. Without `data`, the documents
   * that the options give are trained on alone.
   *
   * @throws UsageError where this kind cannot be read so
   */
  load(
    source: { data: string | DataInMemory | undefined; evalData?: string | DataInMemory | undefined } & Pick<
      ExampleSettings,
      'evalSplit'
    >,
    options: LoadOptions,
  ): Promise<TrainingData>;
  /** Tokenises the texts to train on. */
  tokenize(retriever: Retriever, data: RetrievalData, options?: TokenizeOptions): SideTokens;
  /**
   * Tokenises the texts to evaluate on, where they are not those that are trained on.
   */
  evaluationTokens(retriever: Retriever, evaluation: RetrievalData, options?: TokenizeOptions): SideTokens;
  /**
   * Picks the examples that a method can use.
   * @throws DataError where none is left
   */
  usable(
    examples: TrainingExamples,
    of: {
      documents: TokenStore;
      settings: ExampleSettings;
      method: Pick<Method, 'distils' | 'answers'>;
      /** Answers to the queries, where the data has some and the method needs them. */
      answers?: AnswersOf | undefined;
    },
  ): UsableExamples;
  /**
   * Evaluates a retriever on a split.
   *
   * @param options.limit  largest number of queries or pairs
   * @param options.ranking  receives what was found; kinds without a ranking ignore it
   * @returns  metrics by name
   */
  measure(
    retriever: Retriever,
    evaluation: RetrievalData,
    settings: Pick<ExampleSettings, 'evalSplit' | 'evalMetric'>,
    options: ComputeOptions & { limit: number; tokens: SideTokens; ranking?: RankingTaker | undefined },
  ): Promise<Readonly<Record<string, number>>>;
  /**
   * Measures BM25 on the same queries; absent where it has no such metrics.
   *
   * @param options.limit  largest number of queries
   * @returns  metrics by name; undefined for a corpus that is too large
   */
  baseline?(
    evaluation: RetrievalData,
    settings: Pick<ExampleSettings, 'evalSplit' | 'evalMetric'>,
    options: { limit: number; onProgress?: ((progress: Progress) => void) | undefined },
  ): Promise<Readonly<Record<string, number>> | undefined>;
}
