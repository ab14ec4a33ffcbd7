import type { Corpus } from '../data/corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { NoteListener } from '../util/option-name.ts';
import type { GivenValues, OptionTable } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { LanguageSystem } from './language-system.ts';
import type { TextWindows } from './text-windows.ts';

/** Surroundings in which a system is opened. */
export interface SystemContext extends ComputeOptions {
  /** Folder of the language model, for systems that keep parts of their own beside its weights. Undefined for a model in memory. */
  readonly modelFolder?: string | undefined;
  /** Windows in which running text will be read, for systems that tune their settings on text. */
  readonly windows: TextWindows;
  /** Documents of the data set whose questions are answered, of which passages are read by default. Undefined for running text. */
  readonly corpus?: Corpus | undefined;
  /** Called while passages are encoded, settings are tuned, and the like. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called for everything that a user should know about what was opened. */
  readonly onNote?: NoteListener | undefined;
}

/** Kind of language system: a language model alone, or with retrieval. Each kind is one file of `src/rlm/`. */
export interface SystemSpec {
  /** Id in kebab-case, as `--method` takes it. */
  readonly id: string;
  /** One line for help and docs. */
  readonly summary: string;
  /** Paper that describes the system. */
  readonly paper?: { readonly title: string; readonly year: number; readonly url: string };
  /** Options of the system, each with type, range, help and default. All systems share one space of names. */
  readonly options: OptionTable;
  /** Arms that a comparison puts beside the system, such as random passages. Default none. */
  readonly controls?: readonly ControlArm[];
  /**
   * Reads the windows in which the model of a folder reads running text, where none are asked for. Default: those of `textWindows`.
   *
   * @throws DataError where the folder is no model of the system
   */
  windows?(modelFolder: string): Promise<TextWindows>;
  /**
   * Opens the system over a language model, which stays the caller's.
   *
   * @param options  value of every option of the table, checked; a system reads its own by `optionValues(TABLE, options)`
   */
  open(model: LanguageModel, options: GivenValues, context: SystemContext): Promise<LanguageSystem>;
}

/** Arm that shows whether a system's gain comes from what it retrieves, or how much there is to gain. */
export interface ControlArm {
  /** Name of the arm: `random`, `oracle`. */
  readonly name: string;
  /** Id of the system. */
  readonly method: string;
  /** Options of the arm, beside those that all arms of the comparison share. */
  readonly options: GivenValues;
  /**
   * Tells by the options of an arm of the system whether the control fits it. The control takes the options of the first arm that it
   * fits, and is left out where it fits none. Default: it takes only the options that all arms share, and is never left out.
   */
  follows?(options: GivenValues): boolean;
  /**
   * Options that the control takes from the first arm beside which it stands that has them, where the arms do not share them, such as
   * the passages to read. Default none.
   */
  readonly takes?: readonly string[];
  /** Options of the arms that have no meaning for the control, which does not take them. Default none. */
  readonly leavesOut?: readonly string[];
}
