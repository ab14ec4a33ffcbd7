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

/** Tells whether a record has a value for a name; null counts as absent. */
export function hasValue(record: DataRecord, name: string): boolean {
  return (
    Object.hasOwn(record.fields, name) && record.fields[name] !== null && record.fields[name] !== undefined
  );
}

/** Reads a text. @throws DataError for another type of value */
export function textField(record: DataRecord, name: string): string {
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  throw wrongType(record, name, 'a string', value);
}

/** Reads an id: a string, or a whole number, which is converted to its digits. @throws DataError for another type of value */
export function idField(record: DataRecord, name: string): string {
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  throw wrongType(record, name, 'a string or a whole number', value);
}

/**
 * Converts a value to a number: a finite number within the range of f32, a bigint, or such a number written as text, as in CSV.
 * Returns undefined for anything else.
 */
export function numberOf(value: unknown): number | undefined {
  const isText = typeof value === 'string' && /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(value);
  const number = typeof value === 'bigint' || isText ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(Math.fround(number)) ? number : undefined;
}

/** Makes the error for a field of the wrong type. */
export function wrongType(record: DataRecord, name: string, wanted: string, value: unknown): DataError {
  return new DataError(`field ${quote(name)} should be ${wanted}, found ${describe(value)}`, record);
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
