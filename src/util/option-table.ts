import { UsageError } from './errors.ts';
import { nearest } from './nearest.ts';
import { option } from './option-name.ts';

/** Members of every option. */
export interface OptionBase {
  /** One line for `--help`. Default and range are added from the other fields. */
  readonly help: string;
  /** Stands for the value in the help: `folder`, `n`. */
  readonly value?: string;
  /** Heading of the help under which it stands. */
  readonly group?: string;
  /** Must be given. */
  readonly required?: true;
  /** The default in words, where it depends on other options: `128 for static, else 32`. */
  readonly defaultHelp?: string;
  /** Names that other libraries give the option. They are not accepted: an error for one of them names this option. */
  readonly aliases?: readonly string[];
}

/** Members of options whose value is a number. */
export interface NumberBase extends OptionBase {
  readonly default?: number;
  /** Smallest and largest value allowed. */
  readonly min?: number;
  readonly max?: number;
}

/** A whole number. */
export interface IntegerOption extends NumberBase {
  readonly type: 'integer';
}

/** A finite number, perhaps with a bound that itself is not allowed. */
export interface RealOption extends NumberBase {
  readonly type: 'number';
  readonly above?: number;
  readonly below?: number;
  /** A further check, which throws a UsageError. */
  readonly check?: (value: number) => unknown;
}

export interface TextOption extends OptionBase {
  readonly type: 'text';
  readonly default?: string;
  /** Refuses the empty text. */
  readonly nonEmpty?: true;
  /** A further check, which throws a UsageError. */
  readonly check?: (value: string) => unknown;
}

/** Texts; on the command line separated by commas. */
export interface ListOption extends OptionBase {
  readonly type: 'list';
  readonly default?: readonly string[];
}

/** Numbers; on the command line separated by commas. */
export interface NumbersOption extends OptionBase {
  readonly type: 'numbers';
  readonly default?: readonly number[];
  /** Smallest value of each. */
  readonly min?: number;
  /** Whether each is a whole number. */
  readonly whole?: true;
}

/** One of a few words. */
export interface ChoiceOption extends OptionBase {
  readonly type: 'choice';
  readonly choices: readonly string[];
  readonly default?: string;
}

/** On or off. */
export interface SwitchOption extends OptionBase {
  readonly type: 'switch';
  readonly default?: boolean;
  /** The flag is `--no-…` and turns it off; where nothing is given and there is no default, the value is undefined. */
  readonly negative?: true;
}

export type OptionSpec =
  | IntegerOption
  | RealOption
  | TextOption
  | ListOption
  | NumbersOption
  | ChoiceOption
  | SwitchOption;

/**
 * Options by their names in camel case, declared once: the types of the library, its checks, the flags of the command line, their
 * help, the check of config files and the reference in the documentation are made from this one table.
 */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** The type of an option's value. */
export type OptionValue<S extends OptionSpec> = S extends IntegerOption | RealOption
  ? number
  : S extends SwitchOption
    ? boolean
    : S extends ListOption
      ? readonly string[]
      : S extends NumbersOption
        ? readonly number[]
        : S extends { choices: readonly (infer C)[] }
          ? C
          : string;

/** The values of a table's options: undefined only for those with neither a default nor `required`. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]:
    | OptionValue<T[K]>
    | (T[K] extends { required: true } ? never : T[K] extends { default: unknown } ? never : undefined);
};

/** A table's options as a caller gives them: each may be left out. */
export type GivenOptions<T extends OptionTable> = {
  -readonly [K in keyof T]?: OptionValue<T[K]> | undefined;
};

/** Values by name, of which nothing is known yet. */
export type GivenValues = Readonly<Record<string, unknown>>;

/** The values that an option takes, in words: `a whole number from 1 to 65,536`. */
export function describeRange(spec: OptionSpec): string {
  switch (spec.type) {
    case 'integer':
      return `a whole number${describeBounds(spec)}`;
    case 'number':
      return `a number${describeBounds(spec)}`;
    case 'choice':
      return `one of ${spec.choices.join(', ')}`;
    case 'switch':
      return 'true or false';
    case 'list':
      return 'a list of words';
    case 'numbers': {
      const least = spec.min === undefined ? '' : ` of at least ${spec.min}`;
      return `a list of ${spec.whole ? 'whole ' : ''}numbers${least}`;
    }
    case 'text':
      return spec.nonEmpty ? 'a text that is not empty' : 'a text';
  }
}

/** The bounds of a number, in words: ` from 1 to 65,536`, ` above 0`, or nothing. */
export function describeBounds(spec: IntegerOption | RealOption): string {
  const { min, max } = spec;
  const { above, below } = spec.type === 'number' ? spec : {};
  const number = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 6 });
  if (min !== undefined && max !== undefined) return ` from ${number(min)} to ${number(max)}`;
  const lower =
    above !== undefined ? ` above ${number(above)}` : min !== undefined ? ` of at least ${number(min)}` : '';
  const upper =
    below !== undefined ? ` below ${number(below)}` : max !== undefined ? ` of at most ${number(max)}` : '';
  return lower && upper ? `${lower} and${upper}` : lower || upper;
}

/** Whether a value has the option's type and lies in its range. */
export function accepts(spec: OptionSpec, value: unknown): boolean {
  switch (spec.type) {
    case 'integer':
      return Number.isSafeInteger(value) && withinBounds(spec, value as number);
    case 'number':
      return Number.isFinite(value) && withinBounds(spec, value as number);
    case 'choice':
      return spec.choices.includes(value as string);
    case 'list':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'numbers': {
      const { min = -Infinity, whole = false } = spec;
      const fits = (x: unknown) =>
        (whole ? Number.isSafeInteger(x) : Number.isFinite(x)) && (x as number) >= min;
      return Array.isArray(value) && value.every(fits);
    }
    case 'text':
      return typeof value === 'string' && !(spec.nonEmpty && value === '');
    case 'switch':
      return typeof value === 'boolean';
  }
}

function withinBounds(spec: IntegerOption | RealOption, value: number): boolean {
  const { min = -Infinity, max = Infinity } = spec;
  const { above = -Infinity, below = Infinity } = spec.type === 'number' ? spec : {};
  return value >= min && value <= max && value > above && value < below;
}

/**
 * Checks options that a caller gave. Undefined and null stand for "not given".
 *
 * @throws UsageError for a name that is not in the table, with the option that was probably meant, and for a value of another type
 *   or out of range
 */
export function checkOptions(table: OptionTable, given: GivenValues): void {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (!Object.hasOwn(table, key)) {
      const meant = nearestOption(key, table);
      throw new UsageError(
        `unknown option "${key}"${meant === undefined ? '' : `, did you mean '${meant}'?`}`,
        {
          help: `known: ${Object.keys(table).join(', ')}`,
        },
      );
    }
    checkOption(key, table[key]!, value);
  }
}

/** @throws UsageError for a value of another type or out of range */
export function checkOption(key: string, spec: OptionSpec, value: unknown): void {
  if (accepts(spec, value)) {
    if (spec.type === 'text') spec.check?.(value as string);
    if (spec.type === 'number') spec.check?.(value as number);
    return;
  }
  const near = spec.type === 'choice' && typeof value === 'string' ? suggestion(value, spec.choices) : '';
  throw new UsageError(
    `${option(key)} should be ${describeRange(spec)}, found ${describeValue(value)}${near}`,
  );
}

/** The values of a table's options: those that were given, else the defaults. Other values are left out; nothing is checked. */
export function optionValues<T extends OptionTable>(table: T, given: GivenValues): OptionValues<T> {
  const values = Object.entries(table).map(([key, spec]) => [key, given[key] ?? spec.default]);
  return Object.fromEntries(values) as OptionValues<T>;
}

/** Some of a table's options, in the order of the names. */
export const pickOptions = <T extends OptionTable, K extends keyof T & string>(
  table: T,
  ...names: readonly K[]
): Pick<T, K> => Object.fromEntries(names.map((name) => [name, table[name]])) as unknown as Pick<T, K>;

/** A table with other defaults for some of its options. */
export function withDefaults<T extends OptionTable, D extends GivenOptions<T>>(
  table: T,
  defaults: D,
): {
  readonly [K in keyof T]: K extends keyof D
    ? Omit<T[K], 'default'> & { readonly default: OptionValue<T[K]> }
    : T[K];
} {
  const specs = Object.entries(table).map(([key, spec]) => {
    const own = (defaults as GivenValues)[key];
    return [key, own === undefined ? spec : { ...spec, default: own }];
  });
  return Object.fromEntries(specs);
}

/** A table for a front end that leaves the defaults to the library: they are shown in the help, and no value is filled in. */
export function withoutDefaults<T extends OptionTable>(
  table: T,
): { readonly [K in keyof T]: Omit<T[K], 'default'> } {
  const specs = Object.entries(table).map(([key, { default: value, ...spec }]) => {
    const shown = spec.defaultHelp ?? (value === undefined || spec.type === 'switch' ? '' : String(value));
    return [key, { ...spec, ...(shown !== '' && { defaultHelp: shown }) }];
  });
  return Object.fromEntries(specs);
}

/**
 * The option that a word was probably meant to be: one that another library calls so (`learning_rate` for `lr`), else the one that
 * is spelt most like it.
 */
export function nearestOption(word: string, table: OptionTable): string | undefined {
  const names = Object.entries(table).flatMap(([key, { aliases = [] }]) =>
    [key, ...aliases].map((name) => [letters(name), key] as const),
  );
  const asked = letters(word);
  const found = nearest(
    asked,
    names.map(([name]) => name),
  );
  return names.find(([name]) => name === (found ?? asked))?.[1];
}

/** A name whatever way its words are joined: `batch-size`, `batch_size` and `batchSize` are the same. */
const letters = (name: string): string => name.replace(/[-_]/g, '').toLowerCase();

/** `, did you mean 'x'?`, or nothing. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const near = nearest(word, candidates);
  return near === undefined ? '' : `, did you mean '${near}'?`;
}

/** A value for a message, shortened. */
export function describeValue(value: unknown): string {
  const text = typeof value === 'object' || typeof value === 'string' ? asJson(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
