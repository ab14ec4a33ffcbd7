import { readJsonl } from './jsonl.ts';
import { type LineOptions, readBytes } from './lines.ts';
import { isParquet, readParquet } from './parquet.ts';
import type { DataRecord } from './record.ts';

/** Streams the records of a JSONL (plain or gzip) or Parquet file, recognised by its first bytes. */
export async function* readRecords(
  file: string,
  options: LineOptions & { columns?: (names: readonly string[]) => readonly string[] } = {},
): AsyncGenerator<DataRecord> {
  if (!(await isParquet(file))) {
    yield* readJsonl(file, options);
    return;
  }
  // Parquet is read out of order and in part, so an observer of all bytes gets them in a pass of its own.
  if (options.onBytes !== undefined) for await (const bytes of readBytes(file)) options.onBytes(bytes);
  yield* readParquet(file, options);
}
