import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';

/** Treatment of a field in a configuration file of another program. */
export type FieldRule =
  /** The field decides on the vectors, and Undrift follows it. */
  | 'followed'
  /** The field changes no vector. */
  | 'harmless'
  /** The field changes vectors in a way that Undrift follows only for some values. */
  | {
      /** Tells whether the value is one that Undrift follows. */
      readonly accepts: (value: unknown) => boolean;
      /** Meaning of other values, as the rest of a sentence after the field and its value. */
      readonly means: string;
      /** Remedy. */
      readonly help: string;
    };

/** Fields of a file that the Python libraries act upon, by name. */
export type FieldTable = Readonly<Record<string, FieldRule>>;

/** Accepts a value that leaves a setting off. */
export const isOff = (value: unknown): boolean => value === null || value === undefined || value === false;

/** Accepts one of some values, or none. */
export const isOneOf =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    value === null || value === undefined || values.includes(value);

/**
 * Checks the fields of a file against its table.
 *
 * @param options.inside  name of the field whose value `json` is, if it is not the whole file
 * @param options.unknown  refuse fields that the table does not have; the Python library refuses them too. Default:
 *   they are left, because the library does not read them
 * @throws DataError that names the file and the field, says what the field means, and gives a remedy
 */
export function checkFields(
  json: Json,
  file: string,
  table: FieldTable,
  options: { inside?: string; unknown?: 'refuse' } = {},
): void {
  for (const [name, value] of Object.entries(json)) {
    const rule = Object.hasOwn(table, name) ? table[name] : undefined;
    const where = `"${options.inside ? `${options.inside}.` : ''}${name}"`;
    if (rule === undefined && options.unknown === 'refuse' && !isOff(value)) {
      throw new DataError(`${where} is a field that we do not know, so vectors might differ`, {
        file,
        help: 'if it changes no vector, remove it from a copy of the folder',
      });
    }
    if (typeof rule === 'object' && !rule.accepts(value)) {
      throw new DataError(`${where} is ${shown(value)}: ${rule.means}`, { file, help: rule.help });
    }
  }
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
