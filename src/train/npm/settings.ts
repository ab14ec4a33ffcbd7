import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import {
  type TextRunRules,
  type TextSettings,
  textRunSettings,
} from '../language-model/text-run-settings.ts';
import { type NPM_BATCHINGS, NPM_NEW_MODEL, NPM_TRAIN_OPTIONS, type NpmTrainOptions } from './options.ts';

/** Value of `method` in the settings of a run. */
export const NPM_METHOD = 'npm';

/** Options of a run with every default filled in, as stored in its `settings.json`. A window is a piece with its masks and special tokens. */
export interface NpmSettings extends TextSettings {
  readonly method: typeof NPM_METHOD;
  readonly batching: (typeof NPM_BATCHINGS)[number];
  /** Documents that share a batch; null for random batches. */
  readonly batchDocuments: number | null;
  readonly temperature: number;
  readonly detachKeys: boolean;
}

const RULES: TextRunRules = {
  shape: ['hidden', 'layers', 'heads', 'tokenizer', 'vocabSize'],
  rates: { fresh: 5e-4, lora: 2e-4, given: 3e-5 },
  newModel: NPM_NEW_MODEL,
  isNew: (model) => model === NPM_NEW_MODEL,
};

/**
 * Checks the options of a run and fills in defaults, which depend on the model. Options of the machine and of the folder are checked, but are
 * not part of the result.
 *
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this model, and for options that
 *   contradict each other
 */
export function resolveNpmSettings(given: NpmTrainOptions): NpmSettings {
  const { settings } = textRunSettings(NPM_TRAIN_OPTIONS, given, RULES);
  const { batching, batchDocuments } = settings as unknown as NpmSettings;
  if (batching === 'random' && batchDocuments !== null) {
    throw new UsageError(`${option('batchDocuments')} has no meaning with ${option('batching', batching)}`, {
      help: `leave it out, or give ${option('batching', 'same-document')}`,
    });
  }
  return {
    ...settings,
    method: NPM_METHOD,
    batchDocuments: batching === 'random' ? null : (batchDocuments ?? 1),
  } as unknown as NpmSettings;
}
