import { UsageError } from './errors.ts';
import { nearest } from './nearest.ts';
import { option } from './option-name.ts';

/** Fields that every option has. */
export interface OptionBase {
  /** One line for `--help`. Default and range are added from the other fields. */
  readonly help: string;
  /** Placeholder for the value in the help: `folder`, `n`. */
  readonly value?: string;
  /** Heading in the help under which the option is listed. */
  readonly group?: string;
  /** Whether the option must be given. Default: optional. */
  readonly required?: true;
  /** Default in words, if it depends on other options: `128 for static, else 32`. */
  readonly defaultHelp?: string;
  /**
   * Names of the option in other libraries. They are not accepted, but an error for one of them names this
   * option.
   */
  readonly aliases?: readonly string[];
}

/** Fields of options with a number as value. */
export interface NumberBase extends OptionBase {
  /** Value if the option is not given. */
  readonly default?: number;
  /** Smallest value allowed. */
  readonly min?: number;
  /** Largest value allowed. */
  readonly max?: number;
}

/** Option with a whole number. */
export interface IntegerOption extends NumberBase {
  readonly type: 'integer';
}

/** Option with a finite number. */
export interface RealOption extends NumberBase {
  readonly type: 'number';
  /** Exclusive lower bound. */
  readonly above?: number;
  /** Exclusive upper bound. */
  readonly below?: number;
  /** Additional check, which throws a UsageError. */
  readonly check?: (value: number) => unknown;
}

/** Option with a text. */
export interface TextOption extends OptionBase {
  readonly type: 'text';
  /** Value if the option is not given. */
  readonly default?: string;
  /** Whether the empty text is refused. Default: it is allowed. */
  readonly nonEmpty?: true;
  /** Additional check, which throws a UsageError. */
  readonly check?: (value: string) => unknown;
}

/** Option with a list of texts, which are separated by commas on the command line. */
export interface ListOption extends OptionBase {
  readonly type: 'list';
  /** Words that are allowed. Default: all. */
  readonly choices?: readonly string[];
  /**
   * Whether spaces count and the items have escapes: `\\n` and `\\t` for white space, `\\,` for a comma, `\\\\` for a backslash. Default:
   * items are trimmed.
   */
  readonly escapes?: true;
  /** Value if the option is not given. */
  readonly default?: readonly string[];
}

/** Option with a list of numbers, which are separated by commas on the command line. */
export interface NumbersOption extends OptionBase {
  readonly type: 'numbers';
  /** Value if the option is not given. */
  readonly default?: readonly number[];
  /** Smallest value allowed for each number. */
  readonly min?: number;
  /** Largest value allowed for each number. */
  readonly max?: number;
  /** Whether each number must be whole. Default: any finite number is allowed. */
  readonly whole?: true;
}

/** Option with a text, or several, for some of a few words: `query=question,positive=answer` on the command line. */
export interface MapOption extends OptionBase {
  readonly type: 'map';
  /** Words that may have a text. */
  readonly choices: readonly string[];
  /** Value if the option is not given. */
  readonly default?: Readonly<Record<string, string | readonly string[]>>;
}

/** Option with one of a few words. */
export interface ChoiceOption extends OptionBase {
  readonly type: 'choice';
  /** Words that are allowed. */
  readonly choices: readonly string[];
  /** Value if the option is not given. */
  readonly default?: string;
}

/** Option that is on or off. */
export interface SwitchOption extends OptionBase {
  readonly type: 'switch';
  /** Value if the option is not given. */
  readonly default?: boolean;
  /**
   * Whether the flag is `--no-…` and turns the option off. Without the flag and a default, the value is
   * undefined.
   */
  readonly negative?: true;
}

/** Declaration of one option. */
export type OptionSpec =
  | IntegerOption
  | RealOption
  | TextOption
  | ListOption
  | NumbersOption
  | MapOption
  | ChoiceOption
  | SwitchOption;

/**
 * Declarations of options, by their names in camel case.
 *
 * Each option is declared once. The types of the library, its checks, the flags of the command line, their
 * help, the check of config files and the reference in the documentation are derived from the table.
 */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** Type of an option's value. */
export type OptionValue<S extends OptionSpec> = S extends IntegerOption | RealOption
  ? number
  : S extends SwitchOption
    ? boolean
    : S extends ListOption
      ? readonly (S extends { choices: readonly (infer C)[] } ? C : string)[]
      : S extends NumbersOption
        ? readonly number[]
        : S extends MapOption
          ? { readonly [K in S['choices'][number]]?: string | readonly string[] | undefined }
          : S extends { choices: readonly (infer C)[] }
            ? C
            : string;

/** Values of a table's options. Only those with neither a default nor `required` can be undefined. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]:
    | OptionValue<T[K]>
    | (T[K] extends { required: true } ? never : T[K] extends { default: unknown } ? never : undefined);
};

/** Options of a table as a caller gives them. Each may be left out. */
export type GivenOptions<T extends OptionTable> = {
  -readonly [K in keyof T]?: OptionValue<T[K]> | undefined;
};

/** Unchecked values by name. */
export type GivenValues = Readonly<Record<string, unknown>>;

/** Describes the values that an option accepts: `a whole number from 1 to 65,536`. */
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
      return spec.choices ? `a list of ${spec.choices.join(', ')}` : 'a list of texts';
    case 'numbers':
      return `a list of ${spec.whole ? 'whole ' : ''}numbers${describeBounds(spec)}`;
    case 'map':
      return `a text for some of ${spec.choices.join(', ')}`;
    case 'text':
      return spec.nonEmpty ? 'a text that is not empty' : 'a text';
  }
}

/** Describes the bounds of a number: ` from 1 to 65,536`, ` above 0`, or the empty text. */
export function describeBounds(spec: IntegerOption | RealOption | NumbersOption): string {
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

/** Returns whether a value has the option's type and lies in its range. */
export function accepts(spec: OptionSpec, value: unknown): boolean {
  switch (spec.type) {
    case 'integer':
      return Number.isSafeInteger(value) && withinBounds(spec, value as number);
    case 'number':
      return Number.isFinite(value) && withinBounds(spec, value as number);
    case 'choice':
      return spec.choices.includes(value as string);
    case 'list':
    case 'numbers':
      return Array.isArray(value) && value.every((item) => acceptsItem(spec, item));
    case 'map':
      return isMap(spec, value);
    case 'text':
      return typeof value === 'string' && !(spec.nonEmpty && value === '');
    case 'switch':
      return typeof value === 'boolean';
  }
}

function isMap({ choices }: MapOption, value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([key, text]) => {
    const texts: readonly unknown[] = Array.isArray(text) ? text : [text];
    return text === undefined || (choices.includes(key) && texts.every((each) => typeof each === 'string'));
  });
}

/** Returns whether a value is allowed as an item of a list. */
export function acceptsItem(spec: ListOption | NumbersOption, item: unknown): boolean {
  if (spec.type === 'list') return typeof item === 'string' && (spec.choices?.includes(item) ?? true);
  return (
    (spec.whole ? Number.isSafeInteger(item) : Number.isFinite(item)) && withinBounds(spec, item as number)
  );
}

function withinBounds(spec: IntegerOption | RealOption | NumbersOption, value: number): boolean {
  const { min = -Infinity, max = Infinity } = spec;
  const { above = -Infinity, below = Infinity } = spec.type === 'number' ? spec : {};
  return value >= min && value <= max && value > above && value < below;
}

/**
 * Checks the options that a caller gave. Undefined and null stand for "not given".
 *
 * @param others names that are allowed beside those of the table, such as callbacks; their values are not checked
 * @throws UsageError for a name that is not in the table, with the option that was probably meant, and for a
 *   value of the wrong type or out of range.
 */
export function checkOptions(table: OptionTable, given: object, others: readonly string[] = []): void {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || others.includes(key)) continue;
    if (!Object.hasOwn(table, key)) {
      const meant = nearestOption(key, table) ?? nearest(key, others);
      throw new UsageError(
        `unknown option "${key}"${meant === undefined ? '' : `, did you mean '${meant}'?`}`,
        {
          help: `known: ${[...Object.keys(table), ...others].join(', ')}`,
        },
      );
    }
    checkOption(key, table[key]!, value);
  }
}

/**
 * Checks the value of one option.
 *
 * @throws UsageError for a value of the wrong type or out of range.
 */
export function checkOption(key: string, spec: OptionSpec, value: unknown): void {
  if (accepts(spec, value)) {
    if (spec.type === 'text') spec.check?.(value as string);
    if (spec.type === 'number') spec.check?.(value as number);
    return;
  }
  throw new UsageError(
    `${option(key)} should be ${describeRange(spec)}, found ${describeValue(value)}${nearestChoice(spec, value)}`,
  );
}

/** Suggestion for a word that is none of an option's choices, or for the first such word of a list or map. */
export function nearestChoice(spec: OptionSpec, value: unknown): string {
  if ((spec.type !== 'choice' && spec.type !== 'list' && spec.type !== 'map') || !spec.choices) return '';
  const words =
    spec.type === 'map' && typeof value === 'object' && value !== null ? Object.keys(value) : value;
  const wrong = Array.isArray(words) ? words.find((item) => !spec.choices!.includes(item)) : words;
  return typeof wrong === 'string' ? suggestion(wrong, spec.choices) : '';
}

/**
 * Returns the value of every option in a table: the given value, else the default.
 *
 * Values of other names are left out. Nothing is checked.
 */
export function optionValues<T extends OptionTable>(table: T, given: GivenValues): OptionValues<T> {
  const values = Object.entries(table).map(([key, spec]) => [key, given[key] ?? spec.default]);
  return Object.fromEntries(values) as OptionValues<T>;
}

/**
 * Returns the value of every option in a table, checked. Values of other names are left out.
 *
 * @throws UsageError for a value of the wrong type or out of range
 */
export function checkedValues<T extends OptionTable>(table: T, given: object): OptionValues<T> {
  const values = optionValues(table, given as GivenValues);
  checkOptions(table, values);
  return values;
}

/** Returns a table with some of a table's options, in the order of the names. */
export const pickOptions = <T extends OptionTable, K extends keyof T & string>(
  table: T,
  ...names: readonly K[]
): Pick<T, K> => Object.fromEntries(names.map((name) => [name, table[name]])) as unknown as Pick<T, K>;

/** Returns a table with other defaults for some of its options. The words about a default that is replaced go with it. */
export function withDefaults<T extends OptionTable, D extends GivenOptions<T>>(
  table: T,
  defaults: D,
): {
  readonly [K in keyof T]: K extends keyof D
    ? Omit<T[K], 'default' | 'defaultHelp'> & { readonly default: OptionValue<T[K]> }
    : T[K];
} {
  const specs = Object.entries(table).map(([key, spec]) => {
    const own = (defaults as GivenValues)[key];
    const { defaultHelp: _replaced, ...rest } = spec;
    return [key, own === undefined ? spec : { ...rest, default: own }];
  });
  return Object.fromEntries(specs);
}

/**
 * Returns a table for a front end that leaves the defaults to the library. The help shows the defaults, but
 * `optionValues` fills in none.
 */
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
 * Finds the option that was probably meant by an unknown name.
 *
 * The name is compared with the names and aliases of all options, ignoring case and the way in which words
 * are joined. `learning_rate` gives `lr`, which has it as an alias.
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

/** Normalises a name, so that `batch-size`, `batch_size` and `batchSize` are equal. */
export const letters = (name: string): string => name.replace(/[-_]/g, '').toLowerCase();

/** Suggestion to append to a message: `, did you mean 'x'?`, or the empty text. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const near = nearest(word, candidates);
  return near === undefined ? '' : `, did you mean '${near}'?`;
}

/** Formats a value for a message, in at most 60 characters. */
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
