import type { AnswersOf } from '../../data/answers.ts';
import type { TrainingExamples } from '../../data/examples.ts';
import type { DuplicateMap } from '../../data/text-identity.ts';
import type { OpenEmbedder } from '../../models/background/row-embedder.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import type { StoredEmbeddings } from '../../models/retriever/stored-embeddings.ts';
import type { CostLedger } from '../../objective/cost-ledger.ts';
import type { Objective } from '../../objective/objective.ts';
import type { Temperature } from '../../objective/temperature.ts';
import type { ComputeOptions, Precision } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { LossScale } from '../../runtime/loss-scale.ts';
import type { MemoryListener } from '../../runtime/program.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { NoteListener } from '../../util/option-name.ts';
import type { GivenValues, OptionTable } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import type { LossName } from './loss-names.ts';
import type { PartOpening, TrainedPart } from './trained-part.ts';

/** Options of a method by name, checked and with defaults filled in. A method reads its own by `optionValues(TABLE, …)`. */
export type MethodOptionValues = GivenValues;

/** Pairs of queries and positives: the i-th positive answers the i-th query. */
export interface TrainingPairs {
  /** i32[B]: rows of the query corpus. */
  readonly queryRows: Int32Array;
  /** i32[B]: rows of the document corpus. */
  readonly positiveRows: Int32Array;
}

/** Examples of one step. */
export interface TrainingBatch extends TrainingPairs {
  /** Document rows that the data gives as negatives, shared by all queries of the batch; may be empty. */
  readonly negativeRows: Int32Array;
  /**
   * i32[B, k]: the negatives of the data by query; `NONE` where a query has fewer than k. Absent where no negatives of the data
   * are asked for.
   */
  readonly ownNegatives?: Int32Array;
  /**
   * Scores of the data: of the positives f32[B], and of `ownNegatives` f32[B, k], 0 where there is no negative. Absent where the
   * data has none.
   */
  readonly scores?: { readonly positives: Float32Array; readonly negatives?: Float32Array };
  /** Texts to embed in place of the rows' own, such as parts of them. `in-batch` and `momentum-queue` use them. */
  readonly tokens?: BatchTokens;
}

/** Tokens of a batch's texts, special tokens included, in the order of the batch. */
export interface BatchTokens {
  /** Tokens of the B queries. */
  readonly queries: TokenStore;
  /** Tokens of the B positives, followed by those of the negatives. */
  readonly documents: TokenStore;
}

/**
 * Parts of a run that a method works with. The arrays behind `weights` are live: each step sees the parameters that the last
 * update left.
 */
export interface MethodContext {
  /** Retriever that is trained. */
  readonly retriever: Retriever;
  /** Live arrays of all parameters to feed and to differentiate, by name. The temperature's is among them where it is learned. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Buffers for the gradients of dense parameters, by program output. */
  readonly gradientBuffers: Readonly<Record<string, HostTensor>>;
  /** Part that is trained beside the retriever; absent for methods that open none. Its weights are among `weights`. */
  readonly part?: TrainedPart | undefined;
  /** Tokens of all queries, by row. */
  readonly queries: TokenStore;
  /** Tokens of all documents, by row. */
  readonly documents: TokenStore;
  /**
   * Returns the documents that are never negatives of a query row, ascending: known positives of all queries of the same text,
   * copies of these, and documents with the text of the query. See `TextIdentity`.
   */
  readonly positives: (queryRow: number) => Int32Array;
  /** Lists the documents that are the same as a document, including itself; empty if there is no other. */
  readonly copies: DuplicateMap;
  /** Softmax temperature τ. */
  readonly temperature: Temperature;
  /** Share of hidden units dropped in training, in [0, 1). */
  readonly dropoutRatio: number;
  /** Texts encoded at once by methods that encode a batch in chunks. */
  readonly chunkSize: number;
  /** Seed of all randomness of the run. */
  readonly seed: number;
  /** Device and threads for compiling programs. */
  readonly compute: ComputeOptions;
  /** Dtype in which the programs of a step multiply matrices. Default f32. Nothing else is computed in half precision. */
  readonly precision?: Precision;
  /**
   * Factor that the loss is multiplied by before it is differentiated; gradients come out multiplied by it. Absent where products
   * are made in f32.
   */
  readonly lossScale?: LossScale;
  /** Whether the activations of each layer are computed again for the gradient rather than kept. Default false. */
  readonly gradientCheckpointing?: boolean | undefined;
  /** Options of the method, checked and with defaults filled in. `optionValues` of the method's table gives them their types. */
  readonly options: MethodOptionValues;
  /** Ledger to which the method adds all its costs. */
  readonly ledger: CostLedger;
  /** Functions that return the text of a row of `queries` or `documents`, without prompts. Each call reads from disk. */
  readonly texts: { readonly query: (row: number) => string; readonly document: (row: number) => string };
  /**
   * Embeddings of documents by the weights that the run starts from. A method that embeds documents before the first step reads
   * them here. Absent where there are none.
   */
  readonly stored?: StoredEmbeddings | undefined;
  /** Answers to the queries in words, by query row. Present for methods that need them (`Method.answers`). */
  readonly answers?: AnswersOf | undefined;
  /** Examples that the run trains on. */
  readonly examples: TrainingExamples;
  /** Folder of the run, for files that a method needs during training. */
  readonly folder: string;
  /** Largest number of updates that the run will make. */
  readonly totalSteps?: number;
  /** Opens what embeds a table while training goes on. Default a process beside this one. */
  readonly openEmbedder?: OpenEmbedder | undefined;
  /** Reports progress of work outside of steps, such as filling a cache. */
  readonly onProgress?: (progress: Progress) => void;
  /** Reports progress of work that runs beside the steps. */
  readonly onBackground?: (progress: Progress) => void;
  /** Reports a fact to the user, once. */
  readonly onNote?: NoteListener;
  /** Called before a step that needs more memory than all before it. Methods hand it to the programs that embed a batch. */
  readonly onNeed?: MemoryListener;
  /** Logs figures of a kind of their own, outside of the lines of steps. */
  readonly onEvent?: (kind: string, values: Readonly<Record<string, number>>) => void;
  /**
   * Signal that is aborted where the run is to stop after the current step. Long waits then end early; a resumed run takes them
   * up again.
   */
  readonly signal?: AbortSignal;
}

/** Plan of a run before it begins: the settings that decide what a method does and costs. */
export interface RunPlan {
  /** Whether the activations of each layer are computed again for the gradient rather than kept. Default false. */
  readonly gradientCheckpointing?: boolean | undefined;
  /** Options of the method, checked and with defaults filled in. */
  readonly options: MethodOptionValues;
  /** Updates of the parameters. */
  readonly updates: number;
  /** Queries in a batch, B. */
  readonly batchSize: number;
  /** Batches in an update. */
  readonly accumulate: number;
  /** Negatives of the data for each query; 0 where the data has none. */
  readonly negativesPerQuery: number;
  /** Texts encoded at once by methods that encode a batch in chunks. */
  readonly chunkSize: number;
  /** Share of hidden units dropped in training, in [0, 1). */
  readonly dropoutRatio: number;
  /** Documents of the corpus, N. */
  readonly documents: number;
  /** Documents with a stored embedding by the weights that the run starts from. Default 0. */
  readonly storedDocuments?: number;
  /** Queries that the run trains on. */
  readonly trainingQueries: number;
  /** Embedding size, D. */
  readonly dimension: number;
  /** Whether nothing of the retriever is trained, beside a part that is. Default false. */
  readonly frozenRetriever?: boolean;
}

/** Query that is not trained on, with the documents that the current weights rank highest. */
export interface HeldOutQuery {
  /** Id of the query. */
  readonly id: string;
  /** Text of the query. */
  readonly query: string;
  /** Answers in words, the preferred one first; at least one. */
  readonly answers: readonly string[];
  /** Best documents, by descending score. */
  readonly documents: readonly {
    /** Row in the corpus. */
    readonly row: number;
    readonly text: string;
    /** Score of the retriever, before the temperature. */
    readonly score: number;
  }[];
}

/** Measurement of a method of its own on queries that are not trained on. */
export interface HeldOutMeasure {
  /** Largest number of queries, ≥ 1. */
  readonly queries: number;
  /** Number of best documents of each query. */
  readonly depth: number;
  /** Whether right documents are left out. Default false. */
  readonly withoutPositives?: boolean | undefined;
  /**
   * Measures. It changes no parameter, draws no random number, and adds nothing to the ledger, which counts the costs of training.
   *
   * @returns  figures by name: those of `Method.heldOutMetrics`
   */
  measure(queries: readonly HeldOutQuery[]): Promise<Readonly<Record<string, number>>>;
}

/** Method at work in a run. */
export interface RunningMethod extends Objective<TrainingBatch> {
  /** Measurement of its own, made with each evaluation where the evaluation data has answers. Absent for most methods. */
  readonly heldOut?: HeldOutMeasure | undefined;
  /**
   * Measures, with the current weights, how staleness affects training; see `TableProbe`. It changes no parameter, and draws no
   * random number that a step draws. It bypasses a corrector that turns out to be worse than none, until a later measurement
   * finds the corrector better.
   *
   * @param probe  queries to measure with. Default: up to 128 training queries with their first positives, the same each time.
   * @returns  figures by name
   */
  diagnose?(probe?: TrainingPairs): Promise<Readonly<Record<string, number>>>;
}

/**
 * Way of training a dense retriever, as plain data and one function. The methods of the library are objects of this type, one
 * file each in `src/methods/`. `trainRetriever({ method })` takes one of these by its id, or any other object.
 */
export interface Method {
  /** Id in kebab-case, as on the command line. */
  readonly id: string;
  /** Names that others use for the method. Default none. */
  readonly aliases?: readonly string[];
  /** One line for help and model cards. */
  readonly summary: string;
  /** Paper to cite in model cards. */
  readonly paper?: { readonly title: string; readonly year: number; readonly url: string };
  /**
   * Kind of training example. Default `pairs`.
   *
   * - `pairs`: queries and their documents.
   * - `texts`: documents alone. Query and positive of an example are the same row of the same store, which holds whole texts
   *   without special tokens.
   * - `scored-pairs`: pairs of texts. The first text is the query and the second the positive; the pair's score is that of the
   *   positive.
   */
  readonly trainsOn?: 'pairs' | 'texts' | 'scored-pairs';
  /** Options of the method, each with type, range, help and default. */
  readonly options: OptionTable;
  /** Values that the option `loss` of the method can take. Default none. */
  readonly losses?: readonly LossName[];
  /** Negatives of the data for each query, where the run does not say. Default 0. */
  readonly negatives?: number;
  /** Whether the method learns from a teacher's scores, which the data must then have. Default false. */
  readonly distils?: boolean;
  /** Whether the method needs answers to the queries in words, which the data must then have. Default false. */
  readonly answers?: boolean;
  /** Figures of `RunningMethod.heldOut`, of which larger is better: the option `evalMetric` takes them too. Default none. */
  readonly heldOutMetrics?: readonly string[];
  /**
   * Checks that options, data and batch go together, before anything is embedded or written.
   *
   * @throws UsageError where they do not
   */
  check?(plan: RunPlan): void;
  /** Describes in words what a run will train against and what it will cost: one sentence a line, without a full stop. */
  describe(plan: RunPlan): readonly string[];
  /**
   * Opens a part that is trained beside the retriever, such as a reader. The run gives it to `start`, trains it with a learning rate of
   * its own, checkpoints it, and saves it beside the retriever. Absent for methods that train the retriever alone.
   */
  openPart?(opening: PartOpening): Promise<TrainedPart>;
  /** Compiles the programs of the method and starts it. */
  start(context: MethodContext): Promise<RunningMethod>;
}
