import type { MethodOptions } from '../methods/options.ts';
import type { LENGTH_OPTIONS } from '../train/run-options.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { Facts } from './facts.ts';

/** Options of `undrift train` that advice may set. */
export type TrainingOptions = GivenOptions<typeof LENGTH_OPTIONS> &
  MethodOptions & {
    readonly model?: string | undefined;
    readonly maxDocTokens?: number | undefined;
    readonly maxQueryTokens?: number | undefined;
  };

/** Measured figures behind a rule, and the page that has them. */
export interface Evidence {
  /** Sentence with the figures. */
  readonly text: string;
  /** Figures as they stand in the page. */
  readonly figures: readonly string[];
  /** Page and heading, from docs/. */
  readonly source: string;
}

/** Rule that recommends a training method. */
export interface MethodRule {
  /** Name of the rule. */
  readonly id: string;
  /** Condition in words, for the documentation. */
  readonly when: string;
  /** Condition. */
  readonly applies: (facts: Facts) => boolean;
  /** Id of the recommended method. */
  readonly method: string;
  /** Options of the training command. */
  readonly options?: (facts: Facts) => TrainingOptions;
  /** Reason in words, for the documentation. */
  readonly because: string;
  /** Reason with the figures of the data. */
  readonly reason: (facts: Facts) => string;
  /** Measured figures; null where the form of the data decides. */
  readonly evidence: Evidence | null;
  /** Methods to compare with. */
  readonly alternatives?: readonly Alternative[];
}

/** Method to compare with the recommended one. */
export interface Alternative {
  readonly method: string;
  readonly reason: string;
}

/** Fact that hurts training or evaluation, as a rule finds it. */
export interface FoundWarning {
  /** Fact, with the figures of the data. */
  readonly message: string;
  /** Sentence that says what to do. */
  readonly remedy: string;
  /** Command that does it. */
  readonly command?: string | undefined;
  /** Options of the training command that mend it at a price. */
  readonly options?: TrainingOptions | undefined;
  /** Options of the training command that mend it without a price; the recommended command has them. */
  readonly corrected?: TrainingOptions | undefined;
}

/** Rule that looks for something in the data that hurts training or evaluation. */
export interface WarningRule {
  /** Name of the rule. */
  readonly id: string;
  /** Condition in words, for the documentation. */
  readonly when: string;
  /** Harm in words, for the documentation. */
  readonly harm: string;
  /** Returns what is found; undefined where nothing is. */
  readonly find: (facts: Facts) => FoundWarning | undefined;
}
