import type { ComputeOptions } from '../runtime/devices.ts';
import type { GradientMemory } from '../runtime/gradients.ts';
import type { TrainOptions } from '../train/settings.ts';

/** Budget for the training of each run. */
export interface Budget {
  /** Unit of the budget. */
  readonly kind: BudgetKind;
  /** Amount in that unit. */
  readonly amount: number;
}

/** Kinds of budget: training steps, epochs, document encodes, minutes of training. */
export const BUDGET_KINDS = ['steps', 'epochs', 'encodes', 'minutes'] as const;
/** Kind of a budget. */
export type BudgetKind = (typeof BUDGET_KINDS)[number];

/** Training options that an arm may set. The comparison sets data, folder and seed itself. */
export type ArmOptions = Omit<TrainOptions, 'data' | 'store' | 'out' | 'seed' | 'method'> &
  ComputeOptions &
  GradientMemory;

/** Arm of a comparison: one way of training. */
export interface Arm {
  /** Name of the arm, unique within the comparison. */
  readonly name: string;
  /** Name of the training method. */
  readonly method: string;
  /** Options of base and arm merged, with paths as written in the config file. */
  readonly written: ArmOptions;
  /** Options of base and arm merged, with paths relative to the working directory. */
  readonly options: ArmOptions;
}

/** Evaluation of the finished models. */
export interface EvaluationPlan {
  /** Name of the split. */
  readonly split: string;
  /** Canonical names of the metrics. The first one is the headline metric. */
  readonly metrics: readonly string[];
  /** Maximum number of queries, evenly spaced over the split; null for all. */
  readonly queries: number | null;
}

/** Checked config file of `undrift compare`. */
export interface Comparison {
  /** Name of the comparison. */
  readonly name: string;
  /** Path of the data set. */
  readonly data: string;
  /** Folder of the comparison. */
  readonly out: string;
  /**
   * Budget of each run. Null if the options `steps` or `epochs` of the arms, or their defaults, determine the
   * length of training.
   */
  readonly budget: Budget | null;
  /** Seeds that every arm is trained with. */
  readonly seeds: readonly number[];
  /** Arms. All others are compared with the first. */
  readonly arms: readonly Arm[];
  /** Evaluation of the finished models. */
  readonly evaluate: EvaluationPlan;
}

/** Options of an arm as a config gives them, by their names in camel case. */
export type ArmConfig = ArmOptions & {
  /** Training method, by its id or an alias. May stand in `base`, for all arms. */
  readonly method?: string | undefined;
};

/** Comparison as described by a config file or a caller. */
export interface ComparisonConfig {
  /** Name of the comparison. Default: `comparison`, or the name of the file. */
  readonly name?: string | undefined;
  /** Data set of all runs: a folder, a file, or a name. */
  readonly data: string;
  /** Folder of the comparison. */
  readonly out: string;
  /** Options that all arms share. */
  readonly base?: ArmConfig | undefined;
  /** Amount that every run may spend on training, of one kind. Default: the options of the arms decide. */
  readonly budget?: { readonly [K in BudgetKind]?: number | undefined } | undefined;
  /** Seeds that every arm is trained with. Default [1]. */
  readonly seeds?: readonly number[] | undefined;
  /** Ways of training. All others are compared with the first. */
  readonly arms: readonly (ArmConfig & { readonly name?: string | undefined })[];
  readonly evaluate?:
    | {
        /** Name of the split. Default `test`. */
        readonly split?: string | undefined;
        /** Names of the metrics. Default: nDCG@10, MRR@10 and recall@100. */
        readonly metrics?: readonly string[] | undefined;
        /** Maximum number of queries. Default: all. */
        readonly queries?: number | null | undefined;
      }
    | undefined;
}

/**
 * Name of a run's folder inside the folder of the comparison. The result of the run is in the file of this
 * name with `.json` appended.
 */
export const runName = (arm: Pick<Arm, 'name'>, seed: number): string => `${arm.name}-${seed}`;
