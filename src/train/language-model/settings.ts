import { IN_MEMORY } from '../../data/data-in-memory.ts';
import type { LoadOptions } from '../../data/load-options.ts';
import { NEW_LANGUAGE_MODELS, type NewLanguageModel } from '../../models/language/create-language-model.ts';
import type { Precision } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import {
  checkOption,
  checkOptions,
  type OptionTable,
  type OptionValues,
  optionValues,
} from '../../util/option-table.ts';
import { inOrder } from '../../util/option-text.ts';
import { type AnySettings, checkRunChoices, requireGivenModel } from '../settings.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from './options.ts';

/** Options of a run with every default filled in, as stored in its `settings.json`. Null stands for "none". */
export interface LanguageModelSettings extends AnySettings {
  /** Way of training: `language-model` for next tokens. */
  readonly method: string;
  /** Path or name of the texts; `(memory)` for texts in memory. */
  readonly data: string;
  /** Path or name of the texts to evaluate on, `none` for no evaluation; null for texts held out of `data`. */
  readonly evalData: string | null;
  readonly skipBadRows: number;
  readonly columns: LoadOptions['columns'] | null;
  readonly model: string;
  readonly epochs: number;
  readonly steps: number | null;
  /** Windows of a batch. */
  readonly batchSize: number;
  readonly accumulate: number;
  readonly lr: number;
  readonly precision: Precision;
  readonly dropout: number;
  readonly seed: number;
  readonly lora: number | null;
  readonly loraAlpha: number | null;
  readonly loraTargets: readonly string[] | null;
  readonly freeze: readonly string[] | null;
  readonly trainOnly: readonly string[] | null;
  /** Shape of a new model; null for a given one. */
  readonly hidden: number | null;
  readonly layers: number | null;
  readonly heads: number | null;
  readonly keyHeads: number | null;
  readonly intermediate: number | null;
  readonly tokenizer: string | null;
  readonly vocabSize: number | null;
  /** Tokens of a window. */
  readonly window: number;
  readonly evalTokens: number;
  /** Values of all other options; null where there is none. */
  readonly [name: string]: unknown;
}

/** Settings of a way of training, besides those of all. */
export interface OwnSettings {
  /** Value of `method` in the settings of a run. */
  readonly id: string;
  /** Options besides those of `trainLanguageModel`. */
  readonly options: OptionTable;
  /**
   * Checks the settings together, and fills in defaults that depend on others.
   *
   * @throws UsageError for options that contradict each other
   */
  complete(settings: LanguageModelSettings): LanguageModelSettings;
}

/** Default learning rates of a new model, of adapters, and of a given model. */
const RATES = { fresh: 1e-3, lora: 2e-4, given: 5e-5 };
/** Default windows of a batch of a new model and of a given one, which is usually larger. */
const BATCHES = { fresh: 16, given: 4 };

/** Tells whether the option `model` names the architecture of a new model instead of a given model. */
export const isNewLanguageModel = (model: string): model is NewLanguageModel =>
  (NEW_LANGUAGE_MODELS as readonly string[]).includes(model);

/** Options of the shape of a new model. */
const SHAPE = ['hidden', 'layers', 'heads', 'keyHeads', 'intermediate', 'tokenizer', 'vocabSize'] as const;
/** Options that are not stored with a run: those of the machine and of the folder. */
const NOT_STORED = ['resume', 'overwrite', 'device', 'threads'];

/**
 * Checks the options of a run and fills in defaults, which depend on the model. Options of the machine and of the folder (`threads`,
 * `resume`, …) are checked, but are not part of the result.
 *
 * @param training  way of training, whose own options are checked too
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this model, and for options that
 *   contradict each other
 */
export function resolveLanguageModelSettings(
  given: LanguageModelTrainOptions,
  training: OwnSettings,
): LanguageModelSettings {
  const { data, evalData, ...others } = given;
  const table = { ...LANGUAGE_MODEL_OPTIONS, ...training.options };
  checkOptions(table, others);
  if ((data ?? null) === null) throw new UsageError(`${option('data')} is missing`);
  if (typeof data === 'string') checkOption('data', LANGUAGE_MODEL_OPTIONS.data, data);
  if (typeof evalData === 'string') checkOption('evalData', LANGUAGE_MODEL_OPTIONS.evalData, evalData);
  if ((given.out ?? null) === null) throw new UsageError(`${option('out')} is missing`);
  const values = optionValues(table, { ...others, data: IN_MEMORY }) as OptionValues<
    typeof LANGUAGE_MODEL_OPTIONS
  >;
  const { resume, overwrite } = values;
  checkRunChoices({ resume, overwrite, steps: given.steps, epochs: given.epochs });
  const fresh = isNewLanguageModel(values.model);
  if (fresh) requireGivenModel(values);
  else refuseShape(given);
  const kept = Object.entries(values).filter(([name]) => !NOT_STORED.includes(name));
  const rate = fresh ? RATES.fresh : values.lora ? RATES.lora : RATES.given;
  const settings = {
    ...Object.fromEntries(kept.map(([name, value]) => [name, value ?? null])),
    ...(!fresh && Object.fromEntries(SHAPE.map((name) => [name, null]))),
    method: training.id,
    data: typeof data === 'string' ? data : IN_MEMORY,
    evalData: typeof evalData === 'string' ? evalData : evalData ? IN_MEMORY : null,
    out: given.out,
    columns: values.columns ? inOrder(LANGUAGE_MODEL_OPTIONS.columns, values.columns) : null,
    batchSize: values.batchSize ?? (fresh ? BATCHES.fresh : BATCHES.given),
    lr: values.lr ?? rate,
    loraAlpha: values.loraAlpha ?? (values.lora ? 2 * values.lora : null),
  } as unknown as LanguageModelSettings;
  return training.complete(settings);
}

/** @throws UsageError where a given model is asked for another shape or vocabulary */
function refuseShape(given: LanguageModelTrainOptions): void {
  const asked = SHAPE.find((name) => (given[name] ?? null) !== null);
  if (asked === undefined) return;
  throw new UsageError(`${option(asked)} is for new models: ${given.model} keeps its own`, {
    help: `leave it out, or train a new model: ${option('model', 'llama')}`,
  });
}
