import { IN_MEMORY } from '../../data/data-in-memory.ts';
import type { LoadOptions } from '../../data/load-options.ts';
import { TRAIN_COMPUTE_NAMES } from '../../runtime/compute-options.ts';
import type { Precision } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import {
  checkOption,
  checkOptions,
  type GivenValues,
  type MapOption,
  type OptionTable,
  optionValues,
} from '../../util/option-table.ts';
import { inOrder } from '../../util/option-text.ts';
import { type AnySettings, checkRunChoices, requireGivenModel } from '../settings.ts';

/** Options that are not stored with a run: those of the machine and of the folder. */
const NOT_STORED: readonly string[] = ['resume', 'overwrite', ...TRAIN_COMPUTE_NAMES];

/** Settings that all ways of training on texts share, as a run stores them. Null stands for "none". */
export interface TextSettings extends AnySettings {
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
  readonly tokenizer: string | null;
  readonly vocabSize: number | null;
  /** Tokens of a window. */
  readonly window: number;
  readonly evalTokens: number;
  /** Values of all other options; null where there is none. */
  readonly [name: string]: unknown;
}

/** Rules of a way of training on texts. */
export interface TextRunRules {
  /** Options of the shape of a new model. */
  readonly shape: readonly string[];
  /** Default learning rates of a new model, of adapters, and of a given model. */
  readonly rates: { readonly fresh: number; readonly lora: number; readonly given: number };
  /** Value of `model` that names a new model, for advice. */
  readonly newModel: string;
  /** Tells whether `model` names a new model instead of a given one. */
  isNew(model: string): boolean;
}

/**
 * Checks the options of a run on texts and fills in the defaults that all ways of training share. Options of the machine and of the folder
 * (`threads`, `resume`, …) are checked, but are not part of the result.
 *
 * @returns settings by name, null where there is none; and whether the model is new
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this model, and for options that
 *   contradict each other
 */
export function textRunSettings(
  table: OptionTable,
  given: object,
  rules: TextRunRules,
): { settings: Record<string, unknown>; fresh: boolean } {
  const { data, evalData, ...others } = given as GivenValues;
  checkOptions(table, others);
  if ((data ?? null) === null) throw new UsageError(`${option('data')} is missing`);
  if (typeof data === 'string') checkOption('data', table.data!, data);
  if (typeof evalData === 'string') checkOption('evalData', table.evalData!, evalData);
  if ((others.out ?? null) === null) throw new UsageError(`${option('out')} is missing`);
  const values = optionValues(table, { ...others, data: IN_MEMORY }) as Record<string, unknown> & {
    readonly model: string;
    readonly lora?: number | undefined;
    readonly columns?: Readonly<Record<string, unknown>> | undefined;
  };
  checkRunChoices({
    ...{ resume: values.resume, overwrite: values.overwrite, steps: others.steps, epochs: others.epochs },
  } as Parameters<typeof checkRunChoices>[0]);
  const { model, lora, lr, loraAlpha, columns } = values;
  const fresh = rules.isNew(model);
  if (fresh) requireGivenModel(values);
  else refuseShape(others, model, rules);
  const kept = Object.entries(values).filter(([name]) => !NOT_STORED.includes(name));
  const rate = fresh ? rules.rates.fresh : lora ? rules.rates.lora : rules.rates.given;
  const settings = {
    ...Object.fromEntries(kept.map(([name, value]) => [name, value ?? null])),
    ...(!fresh && Object.fromEntries(rules.shape.map((name) => [name, null]))),
    data: typeof data === 'string' ? data : IN_MEMORY,
    evalData: typeof evalData === 'string' ? evalData : evalData ? IN_MEMORY : null,
    out: others.out,
    columns: columns ? inOrder(table.columns as MapOption, columns) : null,
    lr: lr ?? rate,
    loraAlpha: loraAlpha ?? (lora ? 2 * lora : null),
  };
  return { settings, fresh };
}

/** @throws UsageError where a given model is asked for another shape or vocabulary */
function refuseShape(given: GivenValues, model: string, { shape, newModel }: TextRunRules): void {
  const asked = shape.find((name) => (given[name] ?? null) !== null);
  if (asked === undefined) return;
  throw new UsageError(`${option(asked)} is for new models: ${model} keeps its own`, {
    help: `leave it out, or train a new model: ${option('model', newModel)}`,
  });
}
