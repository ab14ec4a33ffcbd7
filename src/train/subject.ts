import type { ParameterSpec } from '../nn/parameters.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { Objective } from '../objective/objective.ts';
import type { ScheduleName } from '../optim/schedule.ts';
import type { ComputeOptions, Precision } from '../runtime/devices.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { LossScale } from '../runtime/loss-scale.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { BatchSource, StepReport } from './loop.ts';

/** Parts of a run that an objective works with. */
export interface RunParts {
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
  /** Source of the frozen weights, and their hash (null where everything is trained). Frozen weights are not part of a checkpoint. */
  readonly frozen: { readonly source: string; readonly hash: string | null };
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
      }
    | undefined;
  /** Note for a run that asks for diagnoses of an objective without any. */
  readonly nothingToDiagnose: string;
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
}

/** Settings of a run, whatever it trains. */
export interface RunOptions {
  /** Folder of the run. */
  readonly folder: string;
  /** Device and threads for compiling programs. */
  readonly compute: ComputeOptions;
  /**
   * Checkpoint of a run that is resumed; its value is undefined for a run that was killed before its first checkpoint. Absent for
   * a new run.
   */
  readonly resumed?: { readonly checkpoint: Checkpoint | undefined };
  /** Writes the files with which a new run begins. Called after all checks have passed, because it replaces an earlier run. */
  begin(): Promise<void>;
  /** Called before the first step. */
  trainingBegins?(): void;
  /** Command that resumes the run, for messages. */
  readonly resumeCommand: string;
  /** Updates of the run, ≥ 1. */
  readonly totalSteps: number;
  /** Batches whose gradients are averaged into one update, ≥ 1. */
  readonly accumulate: number;
  /** Batches of the run, at most `totalSteps` × `accumulate`, which is the default. The last update averages those that remain. */
  readonly totalBatches?: number | undefined;
  /** Name of the optimizer; see `findOptimizer`. */
  readonly optimizer: string;
  /** Dtype in which programs multiply matrices. With `f16` the loss is scaled. */
  readonly precision: Precision;
  /** Peak learning rate. */
  readonly lr: number;
  /** Change of the learning rate after the warm-up. */
  readonly schedule: ScheduleName;
  /** Length of the warm-up: a share of the run below 1, a number of steps from 1 on. */
  readonly warmup: number;
  /** Decoupled weight decay. */
  readonly weightDecay: number;
  /** Global norm to which gradients are clipped; 0 for no clipping. */
  readonly maxGradNorm: number;
  /** Steps between evaluations. */
  readonly evalEvery: number;
  /** Stop after n evaluations without a new best one; 0 for never. */
  readonly patience: number;
  /** Steps between checkpoints; null to save at each evaluation. */
  readonly saveEvery: number | null;
  /** Steps between diagnoses; 0 for none. */
  readonly diagnose: number;
}
