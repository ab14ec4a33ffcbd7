import type { TASK_OPTIONS } from '../../rlm/evaluation-task.ts';
import type { GivenOptions, GivenValues } from '../../util/option-table.ts';

/** Arm of a comparison of language systems. */
export interface LanguageArm {
  /** Name of the arm, unique within the comparison. */
  readonly name: string;
  /** Id of the system. */
  readonly method: string;
  /** Options of base and arm that the system has, with paths as written in the config file. */
  readonly written: GivenValues;
  /** The same with paths relative to the working directory. */
  readonly options: GivenValues;
}

/** Checked config of `undrift lm compare`. */
export interface LanguageComparison {
  /** Name of the comparison. */
  readonly name: string;
  /** Language model of all arms: a folder or a name on the hub. */
  readonly model: string;
  /** The same as written in the config file. */
  readonly writtenModel: string;
  /** Data that all arms are measured on. */
  readonly data: string;
  /** Folder of the comparison. */
  readonly out: string;
  /** Arms. The first is `none`, with which all others are compared. */
  readonly arms: readonly LanguageArm[];
  /** Way of measuring. */
  readonly evaluate: GivenOptions<typeof TASK_OPTIONS>;
}

/** Comparison of language systems as described by a config file or a caller. */
export interface LanguageComparisonConfig {
  /** Name of the comparison. Default: `comparison`, or the name of the file. */
  readonly name?: string | undefined;
  /** Language model of all arms: a folder or a name on the hub. */
  readonly model: string;
  /** Running text, or a data set with answers to its queries. */
  readonly data: string;
  /** Folder of the comparison. */
  readonly out: string;
  /** Options that all arms share, each for the systems that have it. */
  readonly base?: GivenValues | undefined;
  /** Systems, each with its options: `{ name: 'bm25', method: 'in-context', retriever: 'bm25' }`. */
  readonly arms: readonly (GivenValues & { readonly name?: string | undefined })[];
  /** Way of measuring: see `TASK_OPTIONS`. */
  readonly evaluate?: GivenOptions<typeof TASK_OPTIONS> | undefined;
}
