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
  /** Factor of the loss where products are made in half precision. */
  readonly lossScale: LossScale | undefined;
  readonly ledger: CostLedger;
  /** Logs figures of their own kind, outside of the lines of steps. */
  readonly onEvent: (kind: string, values: Readonly<Record<string, number>>) => void;
}

/** Anything that a run can train: parameters, batches, an objective, how to measure it, and what to keep of it. */
export interface Subject<Batch> {
  /** All parameters, with their names in programs. */
  readonly specs: readonly ParameterSpec[];
  /** Live arrays of the parameters by name; the learner moves them in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Frozen weights: where they come from, and their hash (null where everything is trained). They are no part of a checkpoint. */
  readonly frozen: { readonly source: string; readonly hash: string | null };
  readonly batches: BatchSource<Batch>;
  /** Work of an update for the throughput: `{ unit: 'tokens', of: ({ spent }) => spent.tokens }`. */
  readonly work: { readonly unit: string; of(report: StepReport): number };
  /** Starts the objective; its programs read `weights`. */
  start(parts: RunParts): Promise<Objective<Batch>>;
  /** Figures of an update in the log, besides losses, learning rate and gradient norm. Default: its metrics. */
  logged?(report: StepReport): Readonly<Record<string, number>>;
  /** How to measure during training; absent where nothing is measured, and the last weights are kept instead of the best. */
  readonly evaluation?:
    | {
        /** Metric that decides which weights are the best. */
        readonly metric: string;
        /** Whether a smaller value of it is better. Default false. */
        readonly lowerIsBetter?: boolean;
        measure(): Promise<Readonly<Record<string, number>>>;
      }
    | undefined;
  /** Note for a run that asks for diagnoses of an objective without any. */
  readonly nothingToDiagnose: string;
  /** Saves the weights as they are now. @param metrics  their evaluation; empty where there is none */
  keep(
    metrics: Readonly<Record<string, number>>,
    at: { step: number; ledger: Readonly<Record<string, number>> },
  ): Promise<void>;
}

/** Settings of a run, whatever it trains. */
export interface RunOptions {
  /** Folder of the run. */
  readonly folder: string;
  readonly compute: ComputeOptions;
  /** Set for a run that goes on; without a checkpoint where it was killed before its first one. */
  readonly resumed?: { readonly checkpoint: Checkpoint | undefined };
  /** Writes the files with which a new run begins. Called once nothing can be refused any more: an earlier run is replaced here. */
  begin(): Promise<void>;
  /** Called before the first step. */
  trainingBegins?(): void;
  /** Command that resumes the run, for messages. */
  readonly resumeCommand: string;
  readonly totalSteps: number;
  /** Batches of an update. */
  readonly accumulate: number;
  readonly optimizer: string;
  readonly precision: Precision;
  /** Peak learning rate. */
  readonly lr: number;
  readonly schedule: ScheduleName;
  /** Warm-up: a share of the run below 1, a number of steps from 1 on. */
  readonly warmup: number;
  readonly weightDecay: number;
  /** Global norm to which gradients are clipped; 0 for no clipping. */
  readonly maxGradNorm: number;
  /** Steps between evaluations. */
  readonly evalEvery: number;
  /** Evaluations without a better one after which training stops; 0 for never. */
  readonly patience: number;
  /** Steps between checkpoints; null for one at each evaluation. */
  readonly saveEvery: number | null;
  /** Steps between diagnoses; 0 for none. */
  readonly diagnose: number;
}
