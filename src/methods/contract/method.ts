import type { TrainingExamples } from '../../data/examples.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import type { CostLedger } from '../../objective/cost-ledger.ts';
import type { Objective } from '../../objective/objective.ts';
import type { Temperature } from '../../objective/temperature.ts';
import type { ComputeOptions, Precision } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { LossScale } from '../../runtime/loss-scale.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { GivenValues, OptionTable } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import type { LossName } from './loss-names.ts';

/** Options of a method by name, checked and with defaults filled in. Each method reads its own by `optionValues(TABLE, …)`. */
export type MethodOptionValues = GivenValues;

/** Queries, of which the i-th answers to the i-th positive. */
export interface TrainingPairs {
  /** B rows of the query corpus. */
  readonly queryRows: Int32Array;
  /** B rows of the corpus. */
  readonly positiveRows: Int32Array;
}

/** One step's examples. */
export interface TrainingBatch extends TrainingPairs {
  /** Rows of the corpus given as negatives by the data; may be empty. Shared by all queries of the batch. */
  readonly negativeRows: Int32Array;
  /** i32[B, k]: the same by query, `NONE` where one has fewer; absent where no negatives of the data are asked for. */
  readonly ownNegatives?: Int32Array;
  /** Where the data has scores: of the positives f32[B], and of `ownNegatives` f32[B, k], 0 where there is none. */
  readonly scores?: { readonly positives: Float32Array; readonly negatives?: Float32Array };
  /** Set where other texts than the rows' own are embedded: parts of them. `in-batch` and `momentum-queue` heed it. */
  readonly tokens?: BatchTokens;
}

/** Tokens of a batch's texts, special tokens included, in the order of the batch. */
export interface BatchTokens {
  /** B queries. */
  readonly queries: TokenStore;
  /** B positives, and then the negatives. */
  readonly documents: TokenStore;
}

/** What a method works with. The arrays behind `weights` are live: each step sees the parameters that the last one left. */
export interface MethodContext {
  readonly retriever: Retriever;
  /** Every parameter to feed and to differentiate, the temperature's included. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Buffers for the gradients of dense parameters, by program output. */
  readonly gradientBuffers: Readonly<Record<string, HostTensor>>;
  readonly queries: TokenStore;
  readonly documents: TokenStore;
  /** Known positives of a query row, ascending. */
  readonly positives: (queryRow: number) => Int32Array;
  readonly temperature: Temperature;
  /** Share of hidden units dropped in training. */
  readonly dropoutRatio: number;
  /** Texts encoded at once by methods that work in pieces. */
  readonly chunkSize: number;
  readonly seed: number;
  readonly compute: ComputeOptions;
  /** Dtype in which a step's programs multiply matrices; default f32. Nothing else is made in half precision. */
  readonly precision?: Precision;
  /** What the loss is multiplied by before it is differentiated; gradients come out multiplied. */
  readonly lossScale?: LossScale;
  /** The method's own options, checked, defaults filled in; `optionValues` of its table gives them their types. */
  readonly options: MethodOptionValues;
  /** Where everything that the method spends is written down. */
  readonly ledger: CostLedger;
  /** The texts behind `queries` and `documents`, prompts not included; read from disk at each call. */
  readonly texts: { readonly query: (row: number) => string; readonly document: (row: number) => string };
  readonly examples: TrainingExamples;
  /** Folder of the run, for files that a method needs while it works. */
  readonly folder: string;
  /** Updates that the run will make, at most. */
  readonly totalSteps?: number;
  /** Tells how far work outside of steps has come, such as filling a cache. */
  readonly onProgress?: (progress: Progress) => void;
  /** Tells how far work has come that goes on beside steps. */
  readonly onBackground?: (progress: Progress) => void;
  readonly onNote?: (note: string) => void;
  /** Logs figures of their own kind, which belong to no step's line. */
  readonly onEvent?: (kind: string, values: Readonly<Record<string, number>>) => void;
  /** Aborted where the run is to stop after this step: long waits end, and what they waited for is left to a resumed run. */
  readonly signal?: AbortSignal;
}

/** A run before it begins, as far as it decides what a method does and costs. */
export interface RunPlan {
  /** The method's own, checked, defaults filled in. */
  readonly options: MethodOptionValues;
  /** Updates. */
  readonly updates: number;
  /** Queries of a batch, B. */
  readonly batchSize: number;
  /** Batches of an update. */
  readonly accumulate: number;
  /** Negatives of the data for each query. */
  readonly negativesPerQuery: number;
  readonly chunkSize: number;
  readonly dropoutRatio: number;
  /** Of the corpus, N. */
  readonly documents: number;
  readonly trainingQueries: number;
  /** Embedding size, D. */
  readonly dimension: number;
}

/** A method at work in a run. */
export interface RunningMethod extends Objective<TrainingBatch> {
  /**
   * Measures what staleness does to training with the current weights; see `TableProbe`. Changes no parameter and draws nothing that a
   * step draws, but bypasses a corrector that it finds worse than none until it is better.
   *
   * @param probe  queries to measure with; default: up to 128 training queries with their first positives, the same each time
   */
  diagnose?(probe?: TrainingPairs): Promise<Readonly<Record<string, number>>>;
}

/**
 * A way of training a dense retriever, as plain data and one function. The methods of the library are objects of this type, one file
 * each in `src/methods/`; `trainRetriever({ method })` takes one of these by its id, or any other object.
 */
export interface Method {
  /** kebab-case, as on the command line. */
  readonly id: string;
  /** Names that others use for it. */
  readonly aliases?: readonly string[];
  /** One line for help and model cards. */
  readonly summary: string;
  /** Paper to cite in model cards. */
  readonly paper?: { readonly title: string; readonly year: number; readonly url: string };
  /**
   * Default: queries and their documents. With `texts`, documents alone: each is an example, whose query and positive are the same row
   * of the same store, which holds whole texts without special tokens. With `scored-pairs`, pairs of texts: each is an example, whose
   * first text is the query, its second the positive, its score that of the positive.
   */
  readonly trainsOn?: 'pairs' | 'texts' | 'scored-pairs';
  /** Every option of its own that the method takes: type, range, help, and the method's default. */
  readonly options: OptionTable;
  /** Values of its option `loss`. */
  readonly losses?: readonly LossName[];
  /** Negatives of the data for each query, where the run does not say; default 0. */
  readonly negatives?: number;
  /** Whether it learns from a teacher's scores, which the data must then have. */
  readonly distils?: boolean;
  /**
   * Whether options, data and batch go together, before anything is embedded or written.
   * @throws UsageError where they do not
   */
  check?(plan: RunPlan): void;
  /** What a run will train against and what that will cost, in words: a sentence each, without a full stop. */
  describe(plan: RunPlan): readonly string[];
  start(context: MethodContext): Promise<RunningMethod>;
}
