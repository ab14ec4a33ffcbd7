import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainOptions } from '../train/settings.ts';

/** What every run may spend on training. */
export interface Budget {
  readonly kind: BudgetKind;
  readonly amount: number;
}

export const BUDGET_KINDS = ['steps', 'epochs', 'encodes', 'minutes'] as const;
export type BudgetKind = (typeof BUDGET_KINDS)[number];

/** Options of a training run that an arm may set; the comparison itself sets data, folder, seed and length. */
export type ArmOptions = Omit<TrainOptions, 'data' | 'out' | 'seed' | 'method'> & ComputeOptions;

/** One way of training. */
export interface Arm {
  readonly name: string;
  readonly method: string;
  /** Base and arm together, with file names as they stand in the config file. */
  readonly written: ArmOptions;
  /** The same with file names that hold from the working directory. */
  readonly options: ArmOptions;
}

/** What finished models are measured on. */
export interface EvaluationPlan {
  readonly split: string;
  /** Canonical names; the first one is the headline. */
  readonly metrics: readonly string[];
  /** At most so many queries, evenly spaced over the split; null for all. */
  readonly queries: number | null;
}

/** A checked config file of `undrift compare`. */
export interface Comparison {
  readonly name: string;
  readonly data: string;
  readonly out: string;
  /** Null where the arms' own `steps` or `epochs`, or the defaults, say how long to train. */
  readonly budget: Budget | null;
  readonly seeds: readonly number[];
  /** The others are compared with the first. */
  readonly arms: readonly Arm[];
  readonly evaluate: EvaluationPlan;
}

/** Folder of a run inside the comparison's; its result lies beside it, as `….json`. */
export const runName = (arm: Pick<Arm, 'name'>, seed: number): string => `${arm.name}-${seed}`;
