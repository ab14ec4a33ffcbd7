import { IN_MEMORY } from '../../data/data-in-memory.ts';
import type { LoadOptions } from '../../data/load-options.ts';
import type { Precision } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { checkOption, checkOptions, optionValues } from '../../util/option-table.ts';
import { inOrder } from '../../util/option-text.ts';
import { type AnySettings, checkRunChoices, requireGivenModel } from '../settings.ts';
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

/** Default learning rates of a new model, of adapters, and of a given model. */
const RATES = { fresh: 5e-4, lora: 2e-4, given: 3e-5 };
/** Options of the shape of a new model. */
const SHAPE = ['hidden', 'layers', 'heads', 'tokenizer', 'vocabSize'] as const;
/** Options that are not stored with a run: those of the machine and of the folder. */
const NOT_STORED = ['resume', 'overwrite', 'device', 'threads'];

/**
 * Checks the options of a run and fills in defaults, which depend on the model. Options of the machine and of the folder are checked, but are
 * not part of the result.
 *
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this model, and for options that
 *   contradict each other
 */
export function resolveNpmSettings(given: NpmTrainOptions): NpmSettings {
  const { data, evalData, ...others } = given;
  checkOptions(NPM_TRAIN_OPTIONS, others);
  if ((data ?? null) === null) throw new UsageError(`${option('data')} is missing`);
  if (typeof data === 'string') checkOption('data', NPM_TRAIN_OPTIONS.data, data);
  if (typeof evalData === 'string') checkOption('evalData', NPM_TRAIN_OPTIONS.evalData, evalData);
  if ((given.out ?? null) === null) throw new UsageError(`${option('out')} is missing`);
  const values = optionValues(NPM_TRAIN_OPTIONS, { ...others, data: IN_MEMORY });
  const { resume, overwrite } = values;
  checkRunChoices({ resume, overwrite, steps: given.steps, epochs: given.epochs });
  const fresh = values.model === NPM_NEW_MODEL;
  if (fresh) requireGivenModel(values);
  else {
    const asked = SHAPE.find((name) => (given[name] ?? null) !== null);
    if (asked !== undefined) {
      throw new UsageError(`${option(asked)} is for new models: ${values.model} keeps its own`, {
        help: `leave it out, or train a new model: ${option('model', NPM_NEW_MODEL)}`,
      });
    }
  }
  const kept = Object.entries(values).filter(([name]) => !NOT_STORED.includes(name));
  const rate = fresh ? RATES.fresh : values.lora ? RATES.lora : RATES.given;
  return {
    ...Object.fromEntries(kept.map(([name, value]) => [name, value ?? null])),
    ...(!fresh && Object.fromEntries(SHAPE.map((name) => [name, null]))),
    method: NPM_METHOD,
    data: typeof data === 'string' ? data : IN_MEMORY,
    evalData: typeof evalData === 'string' ? evalData : evalData ? IN_MEMORY : null,
    out: given.out,
    columns: values.columns ? inOrder(NPM_TRAIN_OPTIONS.columns, values.columns) : null,
    lr: values.lr ?? rate,
    loraAlpha: values.loraAlpha ?? (values.lora ? 2 * values.lora : null),
  } as unknown as NpmSettings;
}
