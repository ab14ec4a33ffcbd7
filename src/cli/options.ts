import { UsageError } from '../util/errors.ts';
import { parseJson, readText } from '../util/files.ts';
import { kebabCase } from '../util/option-name.ts';
import {
  describeBounds,
  describeRange,
  describeValue,
  type GivenValues,
  nearestChoice,
  type OptionSpec,
  type OptionTable,
  type OptionValues,
  optionValues,
} from '../util/option-table.ts';
import { describeTexts, isWritten, readOptions, valueOfText } from '../util/option-text.ts';

/** Returns the flag of an option: `--batch-size`, or `--no-…` for a negative switch. */
export const flagOf = (key: string, spec: OptionSpec): string =>
  `--${spec.type === 'switch' && spec.negative ? 'no-' : ''}${kebabCase(key)}`;

/** Returns the flag with its placeholder, as shown in the help: `--batch-size <n>`. */
export function flagWithValue(key: string, spec: OptionSpec): string {
  return spec.type === 'switch' ? flagOf(key, spec) : `${flagOf(key, spec)} <${placeholder(spec)}>`;
}

const PLACEHOLDERS: Record<OptionSpec['type'], string> = {
  integer: 'n',
  number: 'x',
  text: 'text',
  list: 'list',
  numbers: 'n,n,…',
  map: 'word=name,…',
  choice: 'choice',
  switch: '',
};

function placeholder(spec: OptionSpec): string {
  if (spec.type === 'choice' && spec.value === undefined) return spec.choices.join('|');
  return spec.value ?? PLACEHOLDERS[spec.type];
}

/** Returns the default in words and on one line, or undefined if there is none to show. */
export const shownDefault = (spec: OptionSpec): string | undefined =>
  (
    spec.defaultHelp ?? (spec.default === undefined || spec.type === 'switch' ? undefined : `${spec.default}`)
  )?.replaceAll('\n', '\\n');

/**
 * Returns default and range for the help: ` (default 0.4; from 0 to 1)`. Ranges of integers appear only in
 * the reference.
 */
export function describeDefault(spec: OptionSpec): string {
  const parts: string[] = [];
  if (spec.required) parts.push('required');
  const value = shownDefault(spec);
  if (value !== undefined) parts.push(`default${/\s/.test(value) ? ':' : ''} ${value}`);
  if (spec.type === 'number') {
    const range = describeBounds(spec).trim().replace(/^of /, '');
    if (range !== '') parts.push(range);
  }
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`;
}

/**
 * Parses the value of a flag.
 *
 * @throws UsageError with flag, value and range if the value is invalid
 */
export function parseFlag(key: string, spec: OptionSpec, text: string): unknown {
  const value = valueOfText(spec, text);
  if (!isWritten(spec, value)) {
    const near = nearestChoice(spec, value);
    throw new UsageError(`${flagOf(key, spec)} should be ${describeTexts(spec)}, found "${text}"${near}`);
  }
  return value;
}

/**
 * Reads a config file: a JSON object of option names (`"batch-size"` or `"batchSize"`) and values.
 *
 * @throws UsageError with the name of the file for an unknown name (and the nearest known one), a name given
 *   twice or an invalid value
 * @throws DataError if the file is missing or is not JSON
 */
export async function readConfigFile(file: string, table: OptionTable): Promise<GivenValues> {
  const json = parseJson(await readText(file), file);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`${file}: should be an object of options, found ${describeValue(json)}`, {
      help: 'for example {"model": "static", "batch-size": 64}',
    });
  }
  try {
    return readOptions(table, json as GivenValues);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { message, help } = error.marked;
    throw new UsageError(`${file}: ${message}`, help === undefined ? {} : { help });
  }
}

/**
 * Resolves all options of a table: the given value, or else the default. Later arguments take precedence.
 *
 * @throws UsageError if a required option is missing
 */
export function resolveOptions<T extends OptionTable>(
  table: T,
  ...given: readonly GivenValues[]
): OptionValues<T> {
  const all: GivenValues = Object.assign({}, ...given);
  for (const [key, spec] of Object.entries(table)) {
    if ((all[key] ?? spec.default) === undefined && spec.required) {
      throw new UsageError(`${flagWithValue(key, spec)} is missing`, { help: spec.help });
    }
  }
  return optionValues(table, all);
}

/** Formats an option table as Markdown, for the reference. */
export function optionsAsMarkdown(table: OptionTable): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = Object.entries(table).map(([key, spec]) => {
    const shown = shownDefault(spec);
    const words = spec.defaultHelp !== undefined && /\s/.test(spec.defaultHelp);
    const value = spec.required ? 'required' : shown === undefined ? '' : words ? shown : `\`${shown}\``;
    const hasRange = spec.type === 'integer' || spec.type === 'number' || spec.type === 'choice';
    const range = hasRange
      ? describeRange(spec)
      : spec.type === 'numbers' || spec.type === 'map'
        ? describeTexts(spec)
        : '';
    return `| \`${cell(flagWithValue(key, spec))}\` | ${cell(spec.help)} | ${cell(value)} | ${cell(range)} |`;
  });
  return `| option | | default | value |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}
