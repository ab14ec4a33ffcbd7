import { basename } from 'node:path';
import { DataError, UsageError } from '../util/errors.ts';
import { attemptRow, onBadLine } from './bad-rows.ts';
import { DELIMITED_FILE, readDelimited } from './delimited.ts';
import type { FileLog } from './file-log.ts';
import { readJsonl } from './jsonl.ts';
import { type LineOptions, readBytes } from './lines.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { isParquet, readParquet } from './parquet.ts';
import { type DataRecord, describe } from './record.ts';

/** Stream of records: an array, a generator or a database cursor. It is read once and never held as a whole. */
export type Records<T> = Iterable<T> | AsyncIterable<T>;

/** Tells whether a value can be read item by item; false for a string. */
export const isRecords = (value: unknown): value is Records<unknown> =>
  typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);

/** Chooses the columns to read from the names in a file. */
type ChooseColumns = (names: readonly string[]) => readonly string[];

/** Streams the records of one file or one iterable in memory. Can be called only once. */
export type RecordSource = (select?: ChooseColumns) => AsyncIterable<DataRecord>;

/** Settings of {@link readRecords}. */
export interface RecordOptions extends LineOptions {
  /** Chooses the columns to read of a Parquet file. Default all. */
  select?: ChooseColumns | undefined;
  /** Names of columns that the user chose. */
  chosen?: LoadOptions['columns'];
}

/**
 * Streams the records of a file: Parquet, recognised by its first bytes; CSV or TSV, by the name; JSONL otherwise. Text formats may
 * be compressed by gzip.
 */
export async function* readRecords(
  file: string,
  { select, chosen, ...options }: RecordOptions = {},
): AsyncGenerator<DataRecord> {
  if (!(await isParquet(file))) {
    const names = chosenNames(chosen);
    yield* DELIMITED_FILE.test(file)
      ? readDelimited(file, { ...options, chosen: names })
      : readJsonl(file, options);
    return;
  }
  // Parquet is read out of order and in part, so an observer of all bytes gets them in a pass of its own.
  if (options.onBytes !== undefined) for await (const bytes of readBytes(file)) options.onBytes(bytes);
  yield* readParquet(file, { columns: select });
}

/** Tells whether a name is that of a file of records: JSONL, CSV, TSV (each plain or gzip) or Parquet. */
export const isRecordFile = (name: string): boolean =>
  /\.(jsonl(\.gz)?|parquet)$/i.test(name) || DELIMITED_FILE.test(name);

/** Names of all chosen columns. */
export const chosenNames = (chosen: LoadOptions['columns'] = {}): string[] =>
  Object.values(chosen).flatMap((names) => names ?? []);

/**
 * Makes the source of a file's records. `log` observes the bytes of the file.
 *
 * @param role  role of the file in the data set, for the fingerprint
 */
export const recordsOfFile = (
  file: string,
  role: string,
  log: FileLog,
  { maxLineBytes, badRows, columns: chosen }: ReadingOptions,
): RecordSource =>
  async function* (select) {
    const onBytes = await log.watch(file, `${role}/${basename(file)}`);
    yield* readRecords(file, { onBytes, maxLineBytes, select, chosen, onBadLine: onBadLine(badRows) });
  };

/** Makes the sources of the records of several files, by split. */
export const recordsOfFiles = (
  files: ReadonlyMap<string, readonly string[]>,
  log: FileLog,
  options: ReadingOptions,
): Map<string, RecordSource[]> =>
  new Map(
    [...files].map(([split, parts]) => [
      split,
      parts.map((file) => recordsOfFile(file, split, log, options)),
    ]),
  );

/** Number of items in memory between two progress reports. */
const REPORT_EVERY = 1000;

/**
 * Makes the source of the records of an iterable in memory. A record is identified by its position, from 0.
 *
 * @param name  name of the source in messages (`pairs`)
 * @param fields  makes the fields of an item that is not an object; undefined for an item to refuse
 */
export const recordsInMemory = (
  name: string,
  items: unknown,
  { onProgress, badRows }: Pick<ReadingOptions, 'onProgress' | 'badRows'>,
  fields: (item: unknown) => Readonly<Record<string, unknown>> | undefined = () => undefined,
): RecordSource =>
  async function* () {
    if (!isRecords(items)) {
      throw new UsageError(`${name} should be an iterable of records, found ${describe(items)}`, {
        help: 'an array, a generator, or anything else that for await takes',
      });
    }
    let item = 0;
    for await (const found of items) {
      const isObject = typeof found === 'object' && found !== null && !Array.isArray(found);
      const record = isObject ? (found as Record<string, unknown>) : fields(found);
      if (record !== undefined) yield { fields: record, file: name, item };
      else {
        attemptRow(badRows, () => {
          throw new DataError(`expected an object, found ${describe(found)}`, { file: name, item });
        });
      }
      item++;
      if (item % REPORT_EVERY === 0)
        onProgress?.({ stage: 'read', done: item, total: undefined, unit: 'records' });
    }
    if (item === 0) {
      throw new DataError('holds no record', {
        file: name,
        help: 'a generator gives its items once: make a new one for each call',
      });
    }
  };
