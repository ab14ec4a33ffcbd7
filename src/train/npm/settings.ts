import type { LoadOptions } from '../../data/load-options.ts';
import type { Precision } from '../../runtime/devices.ts';
import { type TextRunRules, textRunSettings } from '../language-model/text-run-settings.ts';
import type { AnySettings } from '../settings.ts';
import { type NPM_BATCHINGS, NPM_NEW_MODEL, NPM_TRAIN_OPTIONS, type NpmTrainOptions } from './options.ts';

/** Value of `method` in the settings of a run. */
export const NPM_METHOD = 'npm';

/** Options of a run with every default filled in, as stored in its `settings.json`. Null stands for "none". */
export interface NpmSettings extends AnySettings {
  readonly method: typeof NPM_METHOD;
  /** Path or name of the texts to evaluate on, `none` for no evaluation; null for texts held out of `data`. */
  readonly evalData: string | null;
  readonly skipBadRows: number;
  readonly columns: LoadOptions['columns'] | null;
  readonly model: string;
  readonly epochs: number;
  readonly steps: number | null;
  /** Pieces of a batch. */
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
  readonly tokenizer: string | null;
  readonly vocabSize: number | null;
  /** Tokens of a piece with its masks and special tokens. */
  readonly window: number;
  readonly batching: (typeof NPM_BATCHINGS)[number];
  readonly detachKeys: boolean;
  readonly evalTokens: number;
  /** Values of all other options; null where there is none. */
  readonly [name: string]: unknown;
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
  return { ...settings, method: NPM_METHOD } as unknown as NpmSettings;
}
