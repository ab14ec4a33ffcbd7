import { UsageError } from '../util/errors.ts';
import { parseJson, readText } from '../util/files.ts';
import { nearest } from '../util/nearest.ts';

interface OptionBase {
  /** What it does, in a few words; default and range are added from the other fields. */
  readonly help: string;
  /** Stands for the value in the help: `folder`, `n`. */
  readonly value?: string;
  /** Heading of the help under which it stands. */
  readonly group?: string;
  /** Must be given, on the command line or in the config file. */
  readonly required?: true;
}

interface NumberBase extends OptionBase {
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
}

export interface TextOption extends OptionBase {
  readonly type: 'text';
  readonly default?: string;
}

/** Texts separated by commas. */
export interface ListOption extends OptionBase {
  readonly type: 'list';
  readonly default?: readonly string[];
}

/** Numbers separated by commas. */
export interface NumbersOption extends OptionBase {
  readonly type: 'numbers';
  readonly default?: readonly number[];
  /** Least of each. */
  readonly min?: number;
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
 * The options of a command, by their names in camel case. This one table makes the flags, their help, the check of config files,
 * the reference in the documentation, and the type of the result.
 */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** What an option's value is in code. */
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

/** `batchSize` → `batch-size`. */
export const optionName = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** `--batch-size`, or `--no-…` for a switch that is turned off. */
export const flagOf = (key: string, spec: OptionSpec): string =>
  `--${spec.type === 'switch' && spec.negative ? 'no-' : ''}${optionName(key)}`;

/** `--batch-size <n>`, as in the help. */
export function flagWithValue(key: string, spec: OptionSpec): string {
  return spec.type === 'switch' ? flagOf(key, spec) : `${flagOf(key, spec)} <${placeholder(spec)}>`;
}

const PLACEHOLDERS: Record<OptionSpec['type'], string> = {
  integer: 'n',
  number: 'x',
  text: 'text',
  list: 'list',
  numbers: 'n,n,…',
  choice: 'choice',
  switch: '',
};

function placeholder(spec: OptionSpec): string {
  if (spec.type === 'choice' && spec.value === undefined) return spec.choices.join('|');
  return spec.value ?? PLACEHOLDERS[spec.type];
}

/** What a value must be: `a whole number from 1 to 65,536`. */
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
      return 'words separated by commas';
    case 'numbers':
      return `numbers${spec.min === undefined ? '' : ` of at least ${spec.min}`} separated by commas`;
    case 'text':
      return 'a text';
  }
}

function describeBounds(spec: IntegerOption | RealOption): string {
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

/** What the help says after an option's text: ` (default 0.4; from 0 to 1)`. The ranges of whole numbers are for the reference. */
export function describeDefault(spec: OptionSpec): string {
  const parts: string[] = [];
  if (spec.required) parts.push('required');
  if (spec.default !== undefined && spec.type !== 'switch') parts.push(`default ${spec.default}`);
  if (spec.type === 'number') {
    const range = describeBounds(spec).trim();
    if (range !== '') parts.push(range);
  }
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`;
}

/** Reads a value as it stands on the command line. @throws UsageError naming flag, value and range */
export function parseFlag(key: string, spec: OptionSpec, text: string): unknown {
  const value = fromText(spec, text);
  if (value === undefined || !inRange(spec, value)) {
    const near = spec.type === 'choice' ? suggestion(text, spec.choices) : '';
    throw new UsageError(`${flagOf(key, spec)} should be ${describeRange(spec)}, found "${text}"${near}`);
  }
  return value;
}

/** `, did you mean 'x'?`, or nothing. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const near = nearest(word, candidates);
  return near === undefined ? '' : `, did you mean '${near}'?`;
}

const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i;

function fromText(spec: OptionSpec, text: string): unknown {
  switch (spec.type) {
    case 'integer':
    case 'number':
      return NUMBER.test(text.trim()) ? Number(text) : undefined;
    case 'list':
      return text.split(',').flatMap((item) => item.trim() || []);
    case 'numbers':
      return text.split(',').map((item) => (NUMBER.test(item.trim()) ? Number(item) : Number.NaN));
    case 'choice':
      return text;
    case 'text':
      return text;
    case 'switch':
      return text === 'true' ? true : text === 'false' ? false : undefined;
  }
}

function inRange(spec: OptionSpec, value: unknown): boolean {
  switch (spec.type) {
    case 'integer':
      return Number.isSafeInteger(value) && withinBounds(spec, value as number);
    case 'number':
      return Number.isFinite(value) && withinBounds(spec, value as number);
    case 'choice':
      return spec.choices.includes(value as string);
    case 'list':
      return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string');
    case 'numbers': {
      const { min = -Infinity } = spec;
      return (
        Array.isArray(value) &&
        value.length > 0 &&
        value.every((x) => Number.isFinite(x) && (x as number) >= min)
      );
    }
    case 'text':
      return typeof value === 'string';
    case 'switch':
      return typeof value === 'boolean';
  }
}

function withinBounds(spec: IntegerOption | RealOption, value: number): boolean {
  const { min = -Infinity, max = Infinity } = spec;
  const { above = -Infinity, below = Infinity } = spec.type === 'number' ? spec : {};
  return value >= min && value <= max && value > above && value < below;
}

/** Values by key that somebody gave; the others get their defaults. */
export type GivenValues = Readonly<Record<string, unknown>>;

/**
 * Reads a config file: a JSON object of option names (`"batch-size"`, or `"batchSize"`) and values.
 *
 * @throws UsageError naming the file for an unknown name (with the nearest known one), a name given twice and a value that does not
 *   fit; DataError where the file is missing or no JSON.
 */
export async function readConfigFile(file: string, table: OptionTable): Promise<GivenValues> {
  const json = parseJson(await readText(file), file);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`${file}: should be an object of options, found ${describe(json)}`, {
      help: 'for example {"model": "static", "batch-size": 64}',
    });
  }
  const keys = new Map(Object.keys(table).flatMap((key) => [[key, key] as const, [optionName(key), key]]));
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(json)) {
    const key = keys.get(name);
    if (key === undefined) {
      const names = Object.keys(table).map(optionName);
      throw new UsageError(`${file}: unknown option "${name}"${suggestion(name, names)}`, {
        help: `known: ${names.join(', ')}`,
      });
    }
    if (key in values) throw new UsageError(`${file}: "${optionName(key)}" is given twice`);
    const spec = table[key]!;
    if (value === null) continue;
    // A list may be written as one text, as on the command line.
    const isList = spec.type === 'list' || spec.type === 'numbers';
    const read = isList && typeof value === 'string' ? fromText(spec, value) : value;
    if (!inRange(spec, read)) {
      throw new UsageError(
        `${file}: "${name}" should be ${describeRange(spec)}, found ${describe(value)}` +
          (spec.type === 'choice' && typeof value === 'string' ? suggestion(value, spec.choices) : ''),
      );
    }
    values[key] = read;
  }
  return values;
}

function describe(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/**
 * All options of a table: what was given (later arguments win), else the default.
 *
 * @throws UsageError where a required one is missing
 */
export function resolveOptions<T extends OptionTable>(
  table: T,
  ...given: readonly GivenValues[]
): OptionValues<T> {
  const all: GivenValues = Object.assign({}, ...given);
  const values: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(table)) {
    values[key] = all[key] ?? spec.default;
    if (values[key] === undefined && spec.required) {
      throw new UsageError(`${flagWithValue(key, spec)} is missing`, { help: spec.help });
    }
  }
  return values as OptionValues<T>;
}

/** The table as a Markdown table, for the reference. */
export function optionsAsMarkdown(table: OptionTable): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = Object.entries(table).map(([key, spec]) => {
    const hasDefault = spec.default !== undefined && spec.type !== 'switch';
    const value = spec.required ? 'required' : hasDefault ? `\`${spec.default}\`` : '';
    const hasRange = spec.type === 'integer' || spec.type === 'number' || spec.type === 'choice';
    return `| \`${cell(flagWithValue(key, spec))}\` | ${cell(spec.help)} | ${value} | ${hasRange ? cell(describeRange(spec)) : ''} |`;
  });
  return `| option | | default | value |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}
