import type { OptionTable } from '../../util/option-table.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import type { RunResult } from '../run.ts';

/** Result of a run of `undrift lm train`. */
export interface LanguageTrainingResult extends RunResult {
  /** Folder of the best model, or of the last one where nothing was evaluated. */
  readonly model: string;
  /** Number of trained and frozen parameters, where the method counts them. */
  readonly parameters?: number;
  /** Settings of the run, with defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Way of training a language model, or parts beside one. */
export interface LanguageTraining {
  /** Value of `--method`, and of `method` in the settings of a run. */
  readonly id: string;
  /** Words on what is trained, for the help of `--method`. */
  readonly trains: string;
  /** All options of a run, `out` and `data` among them. */
  readonly options: OptionTable;
  /** Function of the library that trains such runs. */
  readonly library: string;
  /** Returns the metric by which a run with these settings is evaluated, and words for what it is evaluated on. */
  evaluated(settings: Readonly<Record<string, unknown>>): {
    readonly evalMetric: string;
    readonly evalSplit: string;
  };
  /**
   * Runs the training.
   *
   * @param options  values of the options, checked by the training itself
   */
  train(
    options: Readonly<Record<string, unknown>>,
    callbacks: TrainCallbacks,
  ): Promise<LanguageTrainingResult>;
}
