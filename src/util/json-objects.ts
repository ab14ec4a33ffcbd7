import { existsSync } from 'node:fs';
import { DataError } from './errors.ts';
import { readJson } from './files.ts';

/** A parsed JSON object of which nothing is known yet. */
export type Json = Readonly<Record<string, unknown>>;

/** Tells whether a parsed JSON value is an object: not null, and not an array. */
export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws DataError unless the file's content is a JSON object. */
export function objectIn(value: unknown, file: string): Json {
  if (!isObject(value)) throw new DataError('expected a JSON object', { file });
  return value;
}

/**
 * Reads a JSON object from a file; undefined if there is no such file.
 *
 * @throws DataError if the file holds something else.
 */
export async function optionalJson(file: string): Promise<Json | undefined> {
  return existsSync(file) ? objectIn(await readJson(file), file) : undefined;
}
