import type { ParameterSpec } from '../nn/parameters.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { Objective } from '../objective/objective.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { GradientMemory } from '../runtime/gradients.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { ParameterGroup } from '../runtime/learner.ts';
import type { LossScale } from '../runtime/loss-scale.ts';
import { UsageError } from '../util/errors.ts';
import {
  checkOption,
  type GivenOptions,
  type GivenValues,
  type OptionTable,
  type OptionValues,
  optionValues,
  pickOptions,
} from '../util/option-table.ts';
import type { RunIdentity } from './checkpoint.ts';
import type { BatchSource, StepReport } from './loop.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from './run-options.ts';

/** Parts of a run that an objective works with. */
export interface RunParts extends GradientMemory {
  /** Buffers for the gradients of dense parameters, by program output. */
  readonly gradientBuffers: Readonly<Record<string, HostTensor>>;
  /** Factor of the loss where matrices are multiplied in half precision; undefined elsewhere. */
  readonly lossScale: LossScale | undefined;
  /** Ledger to which the objective adds its costs. */
  readonly ledger: CostLedger;
  /** Logs figures of a kind of their own, outside of the lines of steps. */
  readonly onEvent: (kind: string, values: Readonly<Record<string, number>>) => void;
}

/** Anything that a run can train: parameters, batches, an objective, how to measure it, and how to keep its weights. */
export interface Subject<Batch> {
  /** Specifications of all parameters, with their names in programs. */
  readonly specs: readonly ParameterSpec[];
  /** Live arrays of the parameters by name. The learner moves them in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /**
   * Source of the frozen weights, and their hash (null where everything is trained). Frozen weights are not part of a checkpoint.
   * Absent where everything is trained.
   */
  readonly frozen?: { readonly source: string; readonly hash: string | null };
  /** Groups of parameters with learning rates of their own, relative to that of the run. Default none. */
  readonly groups?: readonly ParameterGroup[] | undefined;
  /** Batches to train on. */
  readonly batches: BatchSource<Batch>;
  /** Unit and amount of the work of an update, for the throughput: `{ unit: 'tokens', of: ({ spent }) => spent.tokens }`. */
  readonly work: { readonly unit: string; of(report: StepReport): number };
  /** Starts the objective. Its programs read `weights`. */
  start(parts: RunParts): Promise<Objective<Batch>>;
  /** Returns the figures of an update for the log, besides losses, learning rate and gradient norm. Default: its metrics. */
  logged?(report: StepReport): Readonly<Record<string, number>>;
  /** Evaluation during training. Where it is absent nothing is measured, and the last weights are kept instead of the best. */
  readonly evaluation?:
    | {
        /** Metric that decides which weights are the best. */
        readonly metric: string;
        /** Whether a smaller value of the metric is better. Default false. */
        readonly lowerIsBetter?: boolean;
        /** Evaluates the current weights and returns metrics by name. */
        measure(): Promise<Readonly<Record<string, number>>>;
        /** Ranker that needs no training, to compare with. Absent where there is none. */
        readonly baseline?:
          | {
              /** Name in messages: `BM25`. */
              readonly name: string;
              /** Measures it on the same queries; undefined where that costs too much. */
              measure(): Promise<Readonly<Record<string, number>> | undefined>;
            }
          | undefined;
      }
    | undefined;
  /** Note for a run that asks for diagnoses of an objective without any. */
  readonly nothingToDiagnose?: string;
  /**
   * Saves the current weights.
   *
   * @param metrics  evaluation of the weights; empty where there is none
   * @param at  step of the weights, and costs so far
   */
  keep(
    metrics: Readonly<Record<string, number>>,
    at: { step: number; ledger: Readonly<Record<string, number>> },
  ): Promise<void>;
  /** Frees what the subject holds besides its objective, such as a program for evaluation. Called when the run ends. */
  dispose?(): Promise<void>;
}

/** Options of any run, as tables; those of `trainRetriever` are the same. */
export const ANY_RUN_OPTIONS = {
  ...pickOptions(LENGTH_OPTIONS, 'accumulate', 'patience'),
  ...pickOptions(
    OPTIMISATION_OPTIONS,
    'lr',
    'optimizer',
    'precision',
    'weightDecay',
    'maxGradNorm',
    'schedule',
    'warmup',
  ),
  ...pickOptions(EVALUATION_OPTIONS, 'evalEvery', 'saveEvery', 'diagnose'),
} as const satisfies OptionTable;

/** Options of a run, whatever it trains. */
export interface RunOptions extends Omit<GivenOptions<typeof ANY_RUN_OPTIONS>, 'lr'> {
  /** Folder of the run. */
  readonly folder: string;
  /** Updates of the run, ≥ 1. */
  readonly totalSteps: number;
  /** Batches of the run, at most `totalSteps` × `accumulate`, which is the default. The last update averages those that remain. */
  readonly totalBatches?: number | undefined;
  /** Peak learning rate. */
  readonly lr: number;
  /** Device and threads for compiling programs. Default: the CPU with all cores. */
  readonly compute?: ComputeOptions | undefined;
  /** Whether the activations of each layer are computed again for the gradient rather than kept. Default false. */
  readonly gradientCheckpointing?: boolean | undefined;
  /** Whether the run in the folder goes on from its checkpoint, or from the start if it has none yet. Default false. */
  readonly resume?: boolean | undefined;
  /**
   * Facts that tell the run from others, such as its settings and the fingerprint of its data: JSON values by name. Checkpoints store
   * them, and a checkpoint with other values is refused. Default none.
   */
  readonly identity?: RunIdentity | undefined;
  /**
   * Writes the files with which a run begins. Called after all checks have passed, because it replaces an earlier run; not for a run
   * that goes on from a checkpoint. Default: nothing.
   */
  readonly begin?: (() => Promise<void>) | undefined;
  /** Called before the first step. */
  readonly trainingBegins?: (() => void) | undefined;
  /** Command that resumes the run, for the message of a run that was stopped. */
  readonly resumeCommand?: string | undefined;
}

/** The options of a run with their defaults. */
export type ResolvedRunOptions = RunOptions &
  OptionValues<typeof ANY_RUN_OPTIONS> & { readonly compute: ComputeOptions; readonly evalEvery: number };

/** Checks the options of a run and fills in their defaults. An evaluation is due ten times a run. @throws UsageError */
export function resolveRunOptions(options: RunOptions): ResolvedRunOptions {
  const { totalSteps, compute = {} } = options;
  const given: GivenValues = Object.fromEntries(Object.entries(options));
  for (const [name, spec] of Object.entries(ANY_RUN_OPTIONS)) {
    if (given[name] !== undefined && given[name] !== null) checkOption(name, spec, given[name]);
  }
  if (!(Number.isSafeInteger(totalSteps) && totalSteps >= 1)) {
    throw new UsageError(`totalSteps should be a whole number of at least 1, found ${totalSteps}`);
  }
  const values = optionValues(ANY_RUN_OPTIONS, given);
  const evalEvery = values.evalEvery ?? Math.max(1, Math.ceil(totalSteps / 10));
  return { ...options, ...values, lr: options.lr, compute, evalEvery };
}
