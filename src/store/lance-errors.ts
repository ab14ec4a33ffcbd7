import { basename, dirname, join } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import type { Connection, Table } from '@lancedb/lancedb';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError } from '../util/file-error.ts';
import { RESTORE } from './store-head.ts';

/**
 * Returns a connection whose errors, and those of its tables, name file and remedy where the disk is the cause: it is full or
 * read-only, permission is missing, or a file of a table is missing or damaged. Other errors stay as they are.
 *
 * @param folder  folder of the tables
 */
export const withDiskErrors = (connection: Connection, folder: string): Connection =>
  converting(connection, folder);

/**
 * Converts an error of LanceDB whose cause is the disk. LanceDB states the cause only within its message.
 *
 * @param path  folder of the store, or of the table whose operation failed
 */
export function diskError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof UndriftError) return error;
  const { message } = error;
  const missing =
    /Not found: (?!Wrapped error)(.+?), \//.exec(message) ??
    /Dataset at path (.+?) was not found/.exec(message);
  if (missing) {
    const file = missing[1]!;
    const within = file.indexOf(`${basename(path)}/`);
    const named = within < 0 ? file : join(dirname(path), file.slice(within));
    return new DataError('a file of the store is missing', { file: named, help: RESTORE, cause: error });
  }
  const code = CODES.get(Number(/\(os error (\d+)\)/.exec(message)?.[1]));
  if (code) return fileError(Object.assign(new Error(message, { cause: error }), { code }), path, 'use');
  if (/failed to fill whole buffer|LanceError\(IO\)|corrupt|invalid range/i.test(message)) {
    return new DataError('a file of the table is damaged', { file: path, help: RESTORE, cause: error });
  }
  return error;
}

/** Names of the errors of the operating system by their numbers. */
const CODES = new Map([...getSystemErrorMap()].map(([number, [name]]) => [-number, name]));

/**
 * Passes calls on to an object of LanceDB, and converts the errors of the calls, of the promises that they return, and of the queries,
 * iterators and tables that they give.
 */
function converting<T extends object>(object: T, path: string): T {
  const given = (result: unknown): unknown => {
    if (result instanceof Promise) {
      return result.then(
        (value: unknown) => (isTable(value) ? converting(value, join(path, `${value.name}.lance`)) : value),
        (error: unknown) => {
          throw diskError(error, path);
        },
      );
    }
    return typeof result === 'object' && result !== null ? converting(result, path) : result;
  };
  return new Proxy(object, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== 'function') return member;
      return (...inputs: unknown[]) => {
        try {
          return given(member.apply(target, inputs));
        } catch (error) {
          throw diskError(error, path);
        }
      };
    },
  });
}

/** Tells whether a value is a table. LanceDB is loaded when it is used, so that its class is not at hand. */
const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && 'mergeInsert' in value && 'checkout' in value;
