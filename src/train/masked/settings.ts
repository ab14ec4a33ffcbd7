import {
  type TextRunRules,
  type TextSettings,
  textRunSettings,
} from '../language-model/text-run-settings.ts';
import { MASKED_NEW_MODEL, MASKED_TRAIN_OPTIONS, type MaskedTrainOptions } from './options.ts';

/** Value of `method` in the settings of a run. */
export const MASKED_METHOD = 'masked';

/** Options of a run with every default filled in, as stored in its `settings.json`. A window is a piece with its special tokens. */
export interface MaskedSettings extends TextSettings {
  readonly method: typeof MASKED_METHOD;
  /** Width inside the feed-forward parts of a new model; null for the default or a given model. */
  readonly intermediate: number | null;
  readonly maskShare: number;
}

/** Default pieces of a batch of a new model and of a given one, which is usually larger. */
const BATCHES = { fresh: 16, given: 4 };

const RULES: TextRunRules = {
  shape: ['hidden', 'layers', 'heads', 'intermediate', 'tokenizer', 'vocabSize'],
  rates: { fresh: 5e-4, lora: 3e-5, given: 3e-5 },
  newModel: MASKED_NEW_MODEL,
  isNew: (model) => model === MASKED_NEW_MODEL,
};

/**
 * Checks the options of a run and fills in defaults, which depend on the model. Options of the machine and of the folder are checked, but are
 * not part of the result.
 *
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this model, and for options that
 *   contradict each other
 */
export function resolveMaskedSettings(given: MaskedTrainOptions): MaskedSettings {
  const { settings, fresh } = textRunSettings(MASKED_TRAIN_OPTIONS, given, RULES);
  return {
    ...settings,
    method: MASKED_METHOD,
    batchSize: settings.batchSize ?? (fresh ? BATCHES.fresh : BATCHES.given),
  } as unknown as MaskedSettings;
}
