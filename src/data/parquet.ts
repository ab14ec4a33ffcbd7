import { type FileHandle, open } from 'node:fs/promises';
import type { AsyncBuffer } from 'hyparquet';
import { DataError } from '../util/errors.ts';
import { fileError, readAt } from '../util/files.ts';
import { foreignFile, RECOGNISED_BYTES } from '../util/foreign-file.ts';
import { checkColumns, checkedGroup } from './parquet-pages.ts';
import { describe, type FileRecord } from './record.ts';

const MAGIC = 'PAR1';
const FETCH_AGAIN =
  'the Parquet file is damaged or uses a feature that cannot be read: fetch or write it again';

/**
 * Tells whether a file begins like a Parquet file. False for a file that cannot be read, so that its reader
 * reports the reason.
 */
export async function isParquet(file: string): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString('latin1') === MAGIC;
  } catch {
    return false;
  } finally {
    await handle?.close();
  }
}

/**
 * Streams the rows of a Parquet file of any codec. One row group is in memory at a time, with only the chosen
 * columns.
 *
 * @param options.columns  chooses the columns to read from the names in the file; default all
 * @throws DataError for a file that cannot be read or is damaged
 */
export async function* readParquet(
  file: string,
  options: { columns?: ((names: readonly string[]) => readonly string[]) | undefined } = {},
): AsyncGenerator<FileRecord> {
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  let handle: FileHandle;
  try {
    handle = await open(file);
  } catch (error) {
    throw fileError(error, file, 'read');
  }
  /** Turns exceptions into DataError: the library reports damage by whatever exception it runs into. */
  const guard = async <T>(what: string, promise: Promise<T>): Promise<T> => {
    try {
      return await promise;
    } catch (error) {
      if (error instanceof DataError) throw error;
      throw new DataError(`${what} (${(error as Error)?.message ?? describe(error)})`, {
        file,
        help: FETCH_AGAIN,
        cause: error,
      });
    }
  };
  try {
    const source = asyncBuffer(handle, (await guard('could not be read', handle.stat())).size, file);
    const foreign = foreignFile(
      new Uint8Array(await source.slice(0, Math.min(source.byteLength, RECOGNISED_BYTES))),
    );
    if (foreign) throw new DataError(`this is ${foreign.is}`, { file, help: foreign.help });
    const readFooter = async () => {
      const metadata = await parquetMetadataAsync(source);
      const schema = parquetSchema(metadata);
      checkColumns(metadata, schema);
      return { metadata, schema, names: schema.children.map(({ element }) => element.name) };
    };
    const { metadata, schema, names } = await guard('damaged Parquet footer', readFooter());
    const columns = [...(options.columns?.(names) ?? names)];
    let groupStart = 0;
    for (const group of metadata.row_groups) {
      const rows = Number(group.num_rows);
      if (!(rows >= 0)) throw new DataError(`damaged Parquet footer: a group of ${rows} rows`, { file });
      const readGroup = async () => {
        const checked = await checkedGroup(group, schema, columns, source, compressors);
        return await parquetReadObjects({
          file: source,
          metadata: { ...metadata, row_groups: [checked.group] },
          columns,
          compressors: checked.compressors,
        });
      };
      const objects = rows === 0 ? [] : await guard('damaged Parquet data', readGroup());
      for (const [i, fields] of objects.entries()) yield { fields, file, line: groupStart + i + 1 };
      groupStart += rows;
    }
  } finally {
    await handle.close();
  }
}

function asyncBuffer(handle: FileHandle, byteLength: number, file: string): AsyncBuffer {
  const read = async (start: number, end: number): Promise<ArrayBuffer> => {
    if (!(start >= 0 && end >= start && end <= byteLength)) {
      throw new DataError(`damaged Parquet file: refers to bytes ${start} to ${end} of ${byteLength}`, {
        file,
      });
    }
    return (await readAt(handle, file, start, end - start)).buffer;
  };
  return { byteLength, slice: (start, end = byteLength) => observed(read(start, end)) };
}

/**
 * Marks the rejection of a promise as handled, and that of every promise that is made from it by `then`.
 *
 * The library starts to read and decode all columns, and forgets the others at the first error. Their failures
 * would be unhandled rejections, which end the process. The error that the library returns is not affected.
 */
function observed<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  const derive = promise.then.bind(promise) as Promise<T>['then'];
  const then: Promise<T>['then'] = (onValue, onError) => observed(derive(onValue, onError));
  return Object.defineProperty(promise, 'then', { value: then });
}
