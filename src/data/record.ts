import { DataError, type Place } from '../util/errors.ts';
import { quote } from './corpus.ts';

/** Object of a JSONL file, row of a Parquet file (its number, from 1, stands as the line), or item of an iterable in memory. */
export interface DataRecord extends Place {
  /** Values by field name. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Record of a file. */
export type FileRecord = DataRecord & { readonly line: number };

/** Takes the place of a record alone. */
export const placeOf = ({ file, line, item }: Place): Place => ({ file, line, item });

/** Number of a record in its source, from 1. */
export const recordNumber = ({ line, item = -1 }: Place): number => line ?? item + 1;

/** Finds the first of the names for which the record has a value; null counts as absent. */
export function presentName(record: DataRecord, names: readonly string[]): string | undefined {
  return names.find((name) => hasValue(record, name));
}

/** Tells whether a record has a value for a name; null counts as absent. */
export function hasValue(record: DataRecord, name: string): boolean {
  return (
    Object.hasOwn(record.fields, name) && record.fields[name] !== null && record.fields[name] !== undefined
  );
}

/**
 * Reads a text field under one of its names.
 *
 * @throws DataError when the field is absent or not a string
 */
export function textField(record: DataRecord, names: readonly string[]): string {
  const name = presentName(record, names);
  if (name === undefined) throw missing(record, names);
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  throw wrongType(record, name, 'a string', value);
}

/**
 * Reads a text field that may be absent, under one of its names.
 *
 * @throws DataError when the field is not a string
 */
export function optionalTextField(record: DataRecord, names: readonly string[]): string | undefined {
  return presentName(record, names) === undefined ? undefined : textField(record, names);
}

/**
 * Reads an id under one of its names: a string, or a whole number, which is converted to its digits.
 *
 * @throws DataError when the field is absent or of another type
 */
export function idField(record: DataRecord, names: readonly string[]): string {
  const name = presentName(record, names);
  if (name === undefined) throw missing(record, names);
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  throw wrongType(record, name, 'a string or a whole number', value);
}

/** Makes the error for a field of the wrong type. */
export function wrongType(record: DataRecord, name: string, wanted: string, value: unknown): DataError {
  return new DataError(`field ${quote(name)} should be ${wanted}, found ${describe(value)}`, record);
}

function missing(record: DataRecord, names: readonly string[]): DataError {
  const [name, ...others] = names;
  const present = Object.keys(record.fields);
  return new DataError(`field ${quote(name!)} is missing`, {
    ...placeOf(record),
    help:
      (present.length === 0
        ? 'the record is empty'
        : `the record has ${present.slice(0, 8).map(quote).join(', ')}${present.length > 8 ? ', …' : ''}`) +
      (others.length === 0 ? '' : `; ${others.map(quote).join(' or ')} would also be understood`),
  });
}

/** Describes a value in a few words, for error messages. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return `the string ${quote(value)}`;
  if (typeof value === 'object') return 'an object';
  return `the ${typeof value} ${String(value)}`;
}
