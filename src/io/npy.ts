import { type FileHandle, open } from 'node:fs/promises';
import {
  bytesOf,
  checkDataSize,
  type DType,
  dtypes,
  elementCount,
  type TypedArray,
  tensorBytes,
  viewAs,
} from '../onnx/dtypes.ts';
import { DataError, ShapeError, UsageError } from '../util/errors.ts';
import { fileError, openFileAtomic, readAt, writeFileAtomic } from '../util/files.ts';
import { foreignFile, RECOGNISED_BYTES } from '../util/foreign-file.ts';
import type { LoadedTensor, TensorData } from './tensor-data.ts';

/**
 * Writes one array as a .npy file, atomically. The bytes equal those of `numpy.save`.
 *
 * @throws UsageError for bf16, which the format cannot hold.
 * @throws ShapeError if the size of the data does not match dims and dtype.
 * @throws UndriftError if the file cannot be written.
 */
export async function writeNpy(path: string, array: TensorData): Promise<void> {
  checkDataSize('the array', array);
  await writeFileAtomic(path, [npyHeader(array.dtype, array.dims), bytesOf(array.data)]);
}

/** Writer of a .npy file, row by row. */
export interface NpyWriter {
  /** Number of rows appended so far. */
  readonly rows: number;
  /**
   * Appends one or more whole rows. The array may be reused once the promise is fulfilled.
   *
   * @throws ShapeError if the data is of another type, or is not a whole number of rows.
   */
  append(rows: TypedArray): Promise<void>;
  /**
   * Completes the file under its temporary name: the header is final, and everything is on the disk.
   *
   * @throws ShapeError if the number of rows differs from the announced one.
   */
  finish(): Promise<void>;
  /**
   * Gives the file its name, after `finish` if that was not called.
   *
   * @throws ShapeError if the number of rows differs from the announced one.
   */
  close(): Promise<void>;
  /** Deletes the unfinished file. */
  discard(): Promise<void>;
}

/**
 * Opens a .npy file for appending rows. The file appears under its name when the writer is closed.
 *
 * @param options.rowDims shape of one row: `[D]` for embeddings of dimension D
 * @param options.rows number of rows, if known in advance; `close` then refuses any other number
 * @throws UsageError for bf16, which the format cannot hold.
 * @throws ShapeError if a row has no elements.
 * @throws UndriftError if the file cannot be written.
 */
export async function openNpyWriter(
  path: string,
  options: { dtype: DType; rowDims: readonly number[]; rows?: number },
): Promise<NpyWriter> {
  const { dtype, rowDims } = options;
  const rowElements = elementCount(rowDims);
  const placeholder = npyHeader(dtype, [options.rows ?? 0, ...rowDims]);
  if (rowElements === 0) throw new ShapeError(`rows of shape [${rowDims}] have no elements`);
  const file = await openFileAtomic(path);
  await file.append(placeholder);
  let rows = 0;
  let finished = false;
  const finish = async () => {
    if (finished) return;
    if (options.rows !== undefined && rows !== options.rows) {
      await file.discard();
      throw new ShapeError(`${path}: ${options.rows} rows were announced, ${rows} appended`);
    }
    // numpy pads the header for the longest possible first dimension, so its length does not depend on the
    // row count.
    if (options.rows === undefined) await file.overwrite(npyHeader(dtype, [rows, ...rowDims]), 0);
    await file.finish();
    finished = true;
  };
  return {
    get rows() {
      return rows;
    },
    async append(data) {
      if (!(data instanceof dtypes[dtype].array)) {
        throw new ShapeError(
          `rows of type ${dtype} come as ${dtypes[dtype].array.name}, found ${data.constructor.name}`,
        );
      }
      if (data.length % rowElements !== 0) {
        throw new ShapeError(`${data.length} elements are no whole number of rows of shape [${rowDims}]`);
      }
      await file.append(bytesOf(data));
      rows += data.length / rowElements;
    },
    finish,
    async close() {
      await finish();
      await file.commit();
    },
    discard: () => file.discard(),
  };
}

/** Open .npy file, from which rows can be read without loading the rest. */
export interface NpyReader {
  /** Element type of the array. */
  readonly dtype: DType;
  /** Shape of the array. */
  readonly dims: readonly number[];
  /**
   * Reads the rows `begin` to `end` (exclusive) along the first dimension. A scalar has one row.
   *
   * @throws UsageError if the array has no such rows.
   * @throws DataError if the file ends too early.
   */
  readRows(begin: number, end: number): Promise<LoadedTensor>;
  /** Closes the file. */
  close(): Promise<void>;
}

/**
 * Opens a .npy file of format 1, 2 or 3.
 *
 * @throws DataError if the file is missing, truncated or damaged, or if its array is not supported: pickled
 *   objects, big-endian or Fortran-ordered arrays, element types other than those of `dtypes`.
 */
export async function openNpy(path: string): Promise<NpyReader> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    return await readHeader(handle, path);
  } catch (error) {
    await handle?.close();
    throw fileError(error, path, 'read');
  }
}

/**
 * Reads a whole .npy file.
 *
 * @throws DataError as `openNpy` does.
 */
export async function readNpy(path: string): Promise<LoadedTensor> {
  const reader = await openNpy(path);
  try {
    // A scalar has no first dimension. It is read as one row.
    const { dtype, dims } = reader;
    const { data } = await reader.readRows(0, dims[0] ?? 1);
    return { dtype, dims, data };
  } finally {
    await reader.close();
  }
}

const magic = Buffer.from('\x93NUMPY', 'latin1');
const alignment = 64;
const longestNumber = 21;

/**
 * Header in format 1.0: magic, version, two bytes of header length, then a Python dict padded to a multiple
 * of 64 bytes.
 */
function npyHeader(dtype: DType, dims: readonly number[]): Buffer {
  const { npy } = dtypes[dtype];
  if (npy === undefined) {
    throw new UsageError(`.npy files cannot hold ${dtype}`, { help: 'convert to f16 or f32' });
  }
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const dict = `{'descr': '${npy}', 'fortran_order': False, 'shape': (${shape}), }`;
  const growth = dims.length > 0 ? longestNumber - String(dims[0]).length : 0;
  const text = dict + ' '.repeat(growth);
  const prefixBytes = magic.length + 4;
  // The padding is never zero: to an aligned header numpy adds another 64 bytes.
  const padding = alignment - ((prefixBytes + text.length + 1) % alignment);
  const header = Buffer.from(`${text}${' '.repeat(padding)}\n`, 'latin1');
  if (header.length > 0xffff) throw new ShapeError(`an array of ${dims.length} dimensions has no .npy form`);
  return Buffer.concat([magic, Uint8Array.of(1, 0, header.length & 0xff, header.length >>> 8), header]);
}

/** Limit on the length of a header, in bytes. It exceeds every header that numpy itself accepts. */
const maximumHeaderBytes = 65536;

async function readHeader(handle: FileHandle, path: string): Promise<NpyReader> {
  const fail = (
    message: string,
    help = 'the file is damaged or incomplete: copy or write it again',
  ): never => {
    throw new DataError(message, { file: path, help });
  };
  const { size } = await handle.stat();
  if (size < magic.length + 4) fail(`a .npy file has a header, this one has ${size} bytes`);
  const start = await readAt(handle, path, 0, Math.min(size, magic.length + 6));
  if (!start.subarray(0, magic.length).equals(magic)) {
    const foreign = foreignFile(await readAt(handle, path, 0, Math.min(size, RECOGNISED_BYTES)));
    if (foreign) fail(`this is ${foreign.is}`, foreign.help);
    fail('this is not a .npy file', 'write it with numpy.save');
  }
  const version = start[magic.length]!;
  if (version < 1 || version > 3) fail(`the .npy format ${version} is not known`);
  const lengthBytes = version === 1 ? 2 : 4;
  const headerStart = magic.length + 2 + lengthBytes;
  if (size < headerStart) fail(`a .npy file has a header, this one has ${size} bytes`);
  const headerBytes = start.readUIntLE(magic.length + 2, lengthBytes);
  if (headerBytes > Math.min(size - headerStart, maximumHeaderBytes)) {
    fail(`the header claims ${headerBytes} bytes, the file has ${size}`);
  }
  const dataStart = headerStart + headerBytes;
  const text = (await readAt(handle, path, headerStart, headerBytes)).toString('utf8');

  const descr = /'descr': *'([^']*)'/.exec(text)?.[1];
  const fortran = /'fortran_order': *(True|False)/.exec(text)?.[1];
  const shape = /'shape': *\(([^()]*)\)/.exec(text)?.[1];
  if (fortran === undefined || shape === undefined)
    return fail('the .npy header is not a description of an array');
  const dtype = descr === undefined ? undefined : dtypeOf(descr);
  if (dtype === undefined) {
    return fail(
      `the element type ${descr ?? '(a structure)'} is not one that we read`,
      "convert it in Python, for example with array.astype('<f4')",
    );
  }
  const items = shape.split(',').map((item) => item.trim());
  if (items.at(-1) === '') items.pop();
  if (!items.every((item) => /^\d{1,15}$/.test(item)))
    fail('the shape in the .npy header is not a list of numbers');
  const dims = items.map(Number);
  if (fortran === 'True' && dims.length > 1) {
    fail(
      'the array is stored column by column (Fortran order)',
      'save numpy.ascontiguousarray(array) instead',
    );
  }
  const expected = tensorBytes(dtype, dims);
  if (size - dataStart !== expected) {
    fail(
      `an array of type ${dtype} and shape [${dims}] needs ${expected} bytes, the file has ${size - dataStart}`,
    );
  }

  const rowDims = dims.slice(1);
  const rowElements = elementCount(rowDims);
  return {
    dtype,
    dims,
    async readRows(begin, end) {
      if (
        !Number.isInteger(begin) ||
        !Number.isInteger(end) ||
        begin < 0 ||
        begin > end ||
        end > (dims[0] ?? 1)
      ) {
        throw new UsageError(`${path}: there are no rows ${begin} to ${end} in an array of shape [${dims}]`);
      }
      const elements = (end - begin) * rowElements;
      const rowBytes = rowElements * dtypes[dtype].bytes;
      const bytes = await readAt(handle, path, dataStart + begin * rowBytes, (end - begin) * rowBytes);
      return { dtype, dims: [end - begin, ...rowDims], data: viewAs(dtype, bytes, 0, elements) };
    },
    close: () => handle.close(),
  };
}

const codes = new Map((Object.keys(dtypes) as DType[]).map((dtype) => [dtypes[dtype].npy?.slice(1), dtype]));

/**
 * Element type for numpy's code such as `<f4`: byte order, kind, size. Single bytes may have any byte order.
 */
function dtypeOf(descr: string): DType | undefined {
  const dtype = codes.get(descr.slice(1));
  if (dtype === undefined) return undefined;
  return descr[0] === '<' || dtypes[dtype].bytes === 1 ? dtype : undefined;
}
