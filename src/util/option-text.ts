import { UsageError } from './errors.ts';
import { kebabCase } from './option-name.ts';
import {
  accepts,
  describeRange,
  describeValue,
  type GivenValues,
  letters,
  type MapOption,
  nearestChoice,
  nearestOption,
  type OptionSpec,
  type OptionTable,
} from './option-table.ts';

/** Options as people write them: texts of the command line, objects of config files. */

const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i;

/**
 * Parses the text of an option's value, without checking its range. Returns undefined if the text is not of the
 * option's type.
 */
export function valueOfText(spec: OptionSpec, text: string): unknown {
  switch (spec.type) {
    case 'integer':
    case 'number':
      return NUMBER.test(text.trim()) ? Number(text) : undefined;
    case 'list':
      return spec.escapes ? escapedItems(text) : text.split(',').flatMap((item) => item.trim() || []);
    case 'numbers':
      return text.split(',').map((item) => (NUMBER.test(item.trim()) ? Number(item) : Number.NaN));
    case 'map':
      return mapOfText(spec, text);
    case 'choice':
    case 'text':
      return text;
    case 'switch':
      return text === 'true' ? true : text === 'false' ? false : undefined;
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };

/** Parses items separated by commas, in which a backslash makes a letter white space and lets any other character stand for itself. */
function escapedItems(text: string): string[] {
  const items = [''];
  for (const [part] of text.matchAll(/\\?./gsu)) {
    if (part === ',') items.push('');
    else
      items.push(
        `${items.pop()}${part.length > 1 && part[0] === '\\' ? (ESCAPES[part[1]!] ?? part.slice(1)) : part}`,
      );
  }
  return items.filter((item) => item !== '');
}

/**
 * Parses `query=question,positive=answer`. A word that stands twice has a list of texts; `\\,` is a comma in a text. The words
 * come in the order of the option's choices. Returns undefined for an item without `=`.
 */
function mapOfText(spec: MapOption, text: string): Record<string, string | string[]> | undefined {
  const found = new Map<string, string[]>();
  for (const item of text.split(/(?<!\\),/)) {
    const [word = '', ...rest] = item.replaceAll('\\,', ',').split('=');
    if (rest.length === 0) return undefined;
    const key = wordOf(spec, word.trim());
    found.set(key, [...(found.get(key) ?? []), rest.join('=').trim()]);
  }
  return inOrder(
    spec,
    Object.fromEntries([...found].map(([key, all]) => [key, all.length > 1 ? all : all[0]!])),
  );
}

/** Word of a map in its canonical spelling; `positive-scores` and `positive_scores` are `positiveScores`. */
const wordOf = ({ choices }: MapOption, word: string): string =>
  choices.find((choice) => letters(choice) === letters(word)) ?? word;

/** Puts the words of a map into the order of the option's choices, so that equal maps are equal as JSON. */
export const inOrder = <T>({ choices }: MapOption, map: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(map).sort(([a], [b]) => choices.indexOf(a) - choices.indexOf(b)));

/**
 * Returns whether an option accepts a value that a person wrote. An empty list is refused as a mistake, although
 * the library accepts it as "none".
 */
export const isWritten = (spec: OptionSpec, value: unknown): boolean =>
  accepts(spec, value) && !(Array.isArray(value) && value.length === 0);

/** Describes the texts that an option accepts: `numbers of at least 1 separated by commas`. */
export const describeTexts = (spec: OptionSpec): string =>
  spec.type === 'map'
    ? `word=name separated by commas, with the words ${spec.choices.join(', ')}`
    : spec.type === 'list' || spec.type === 'numbers'
      ? `${describeRange(spec).replace('a list of ', '')} separated by commas`
      : describeRange(spec);

/**
 * Reads options from a JSON object, by their names in either spelling: `"batch-size"` or `"batchSize"`.
 *
 * A list may be written as one text, as on the command line. Null stands for "not given".
 *
 * @throws UsageError for an unknown name (with the option that was probably meant), a name that is given twice,
 *   and a value that does not fit.
 */
export function readOptions(table: OptionTable, json: GivenValues): GivenValues {
  const keys = new Map(Object.keys(table).flatMap((key) => [[key, key] as const, [kebabCase(key), key]]));
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(json)) {
    const key = keys.get(name);
    if (key === undefined) {
      const meant = nearestOption(name, table);
      const hint = meant === undefined ? '' : `, did you mean '${kebabCase(meant)}'?`;
      throw new UsageError(`unknown option "${name}"${hint}`, {
        help: `known: ${Object.keys(table).map(kebabCase).join(', ')}`,
      });
    }
    if (key in values) throw new UsageError(`"${kebabCase(key)}" is given twice`);
    if (value === null) continue;
    values[key] = valueInJson(name, table[key]!, value);
  }
  return values;
}

function valueInJson(name: string, spec: OptionSpec, value: unknown): unknown {
  const isList = spec.type === 'list' || spec.type === 'numbers' || spec.type === 'map';
  const read = isList && typeof value === 'string' ? valueOfText(spec, value) : value;
  if (isWritten(spec, read)) return read;
  const near = nearestChoice(spec, read ?? value);
  throw new UsageError(`"${name}" should be ${describeTexts(spec)}, found ${describeValue(value)}${near}`);
}
