import { DataError } from '../util/errors.ts';
import { quote } from './corpus.ts';

/** One object of a JSONL file or one row of a Parquet file. */
export interface DataRecord {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** 1-based line, or 1-based row of a Parquet file. */
  readonly line: number;
}

/** The first of the names that the record has a value for (null counts as absent). */
export function presentName(record: DataRecord, names: readonly string[]): string | undefined {
  return names.find((name) => hasValue(record, name));
}

export function hasValue(record: DataRecord, name: string): boolean {
  return (
    Object.hasOwn(record.fields, name) && record.fields[name] !== null && record.fields[name] !== undefined
  );
}

/** A text field under one of its names. */
export function textField(record: DataRecord, names: readonly string[]): string {
  const name = presentName(record, names);
  if (name === undefined) throw missing(record, names);
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  throw wrongType(record, name, 'a string', value);
}

/** The same, where the field may be absent. */
export function optionalTextField(record: DataRecord, names: readonly string[]): string | undefined {
  return presentName(record, names) === undefined ? undefined : textField(record, names);
}

/** An id under one of its names: a string, or a whole number (which then reads as its digits). */
export function idField(record: DataRecord, names: readonly string[]): string {
  const name = presentName(record, names);
  if (name === undefined) throw missing(record, names);
  const value = record.fields[name];
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  throw wrongType(record, name, 'a string or a whole number', value);
}

export function wrongType(record: DataRecord, name: string, wanted: string, value: unknown): DataError {
  return new DataError(`field ${quote(name)} should be ${wanted}, found ${describe(value)}`, record);
}

function missing(record: DataRecord, names: readonly string[]): DataError {
  const [name, ...others] = names;
  const present = Object.keys(record.fields);
  return new DataError(`field ${quote(name!)} is missing`, {
    file: record.file,
    line: record.line,
    help:
      (present.length === 0
        ? 'the record is empty'
        : `the record has ${present.slice(0, 8).map(quote).join(', ')}${present.length > 8 ? ', …' : ''}`) +
      (others.length === 0 ? '' : `; ${others.map(quote).join(' or ')} would also be understood`),
  });
}

/** What a value is, in a few words. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return `the string ${quote(value)}`;
  if (typeof value === 'object') return 'an object';
  return `the ${typeof value} ${String(value)}`;
}
