import { NEW_LANGUAGE_MODELS, type NewLanguageModel } from '../../models/language/create-language-model.ts';
import type { OptionTable } from '../../util/option-table.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from './options.ts';
import { type TextRunRules, type TextSettings, textRunSettings } from './text-run-settings.ts';

/** Options of a run with every default filled in, as stored in its `settings.json`. Null stands for "none". */
export interface LanguageModelSettings extends TextSettings {
  /** Key and value heads, and width of the feed-forward blocks of a new model; null for a given one. */
  readonly keyHeads: number | null;
  readonly intermediate: number | null;
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

/** Default windows of a batch of a new model and of a given one, which is usually larger. */
const BATCHES = { fresh: 16, given: 4 };

/** Tells whether the option `model` names the architecture of a new model instead of a given model. */
export const isNewLanguageModel = (model: string): model is NewLanguageModel =>
  (NEW_LANGUAGE_MODELS as readonly string[]).includes(model);

const RULES: TextRunRules = {
  shape: ['hidden', 'layers', 'heads', 'keyHeads', 'intermediate', 'tokenizer', 'vocabSize'],
  rates: { fresh: 1e-3, lora: 2e-4, given: 5e-5 },
  newModel: 'llama',
  isNew: isNewLanguageModel,
};

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
  const table = { ...LANGUAGE_MODEL_OPTIONS, ...training.options };
  const { settings, fresh } = textRunSettings(table, given, RULES);
  return training.complete({
    ...settings,
    method: training.id,
    batchSize: settings.batchSize ?? (fresh ? BATCHES.fresh : BATCHES.given),
  } as unknown as LanguageModelSettings);
}
