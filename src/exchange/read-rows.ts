import { join } from 'node:path';
import { readJsonl } from '../data/jsonl.ts';
import { isParquet, readParquet } from '../data/parquet.ts';
import { type DataRecord, hasValue, idField, textField, wrongType } from '../data/record.ts';
import { openNpy } from '../io/npy.ts';
import { DataError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { objectIn } from '../util/json-objects.ts';
import { type ExchangeFormat, type ExchangeRow, formatOf } from './exchange-row.ts';
import { NPY_FILES, NPY_FORMAT } from './write-rows.ts';

/** Row with its place in the file, for messages. */
export interface PlacedRow extends ExchangeRow {
  readonly file: string;
  /** Line, or number of the row, from 1. */
  readonly line: number;
}

/** Rows of a .npy file that are read at once. */
const NPY_ROWS = 2048;

/**
 * Streams the rows of a file or folder of vectors: JSONL, plain or gzip; Parquet; or a folder with .npy.
 *
 * @throws DataError with file and line for a row that is damaged or lacks a field, or a vector with a number that is not finite
 */
export async function* readRows(path: string, format?: ExchangeFormat): AsyncGenerator<PlacedRow> {
  const found = format ?? ((await isParquet(path)) ? 'parquet' : formatOf(path));
  if (found === 'npy') yield* readNpyFolder(path);
  else if (found === 'parquet')
    for await (const record of readParquet(path)) yield rowOf(record, vectorOf(record));
  else for await (const record of readJsonl(path)) yield rowOf(record, vectorOf(record));
}

async function* readNpyFolder(folder: string): AsyncGenerator<PlacedRow> {
  const file = join(folder, NPY_FILES.manifest);
  const manifest = objectIn(await readJson(file), file);
  if (typeof manifest.undriftVectors !== 'number' || manifest.undriftVectors > NPY_FORMAT) {
    throw new DataError(
      `"undriftVectors" should be ${NPY_FORMAT}, found ${JSON.stringify(manifest.undriftVectors)}`,
      {
        file,
        help: 'name a folder that undrift store export has written, or update Undrift',
      },
    );
  }
  const vectorFile = join(folder, NPY_FILES.vectors);
  const npy = await openNpy(vectorFile);
  try {
    const [rows = 0, dimension = 0] = npy.dims;
    if (npy.dtype !== 'f32' || npy.dims.length !== 2) {
      throw new DataError(`vectors are f32[rows, D], found ${npy.dtype}[${npy.dims}]`, { file: vectorFile });
    }
    let part = new Float32Array();
    let start = 0;
    let count = 0;
    for await (const record of readJsonl(join(folder, NPY_FILES.rows))) {
      if (count === rows) throw shortOf(record, rows);
      if (count === start + part.length / dimension) {
        start = count;
        const read = await npy.readRows(start, Math.min(rows, start + NPY_ROWS));
        part = read.data as Float32Array<ArrayBuffer>;
      }
      const at = (count - start) * dimension;
      yield rowOf(record, checkFinite(part.slice(at, at + dimension), record));
      count += 1;
    }
    if (count < rows) {
      throw new DataError(`${count} rows, but ${rows} vectors in ${NPY_FILES.vectors}`, {
        file: join(folder, NPY_FILES.rows),
        help: 'the folder is damaged: export it again',
      });
    }
  } finally {
    await npy.close();
  }
}

const shortOf = (record: DataRecord, rows: number) =>
  new DataError(`there are only ${rows} vectors in ${NPY_FILES.vectors}`, {
    ...record,
    help: 'the folder is damaged: export it again',
  });

function rowOf(record: DataRecord, vector: Float32Array): PlacedRow {
  for (const name of ['id', 'space'])
    if (!hasValue(record, name)) throw wrongType(record, name, 'a text', undefined);
  const optional = (name: string) => (hasValue(record, name) ? textField(record, name) : null);
  return {
    id: idField(record, 'id'),
    title: optional('title'),
    text: optional('text'),
    metadata: metadataOf(record),
    space: textField(record, 'space'),
    step: countOf(record, 'step'),
    time: countOf(record, 'time'),
    corrected: flagOf(record, 'corrected'),
    vector,
    file: record.file,
    line: record.line ?? 0,
  };
}

function vectorOf(record: DataRecord): Float32Array {
  const value = record.fields.vector;
  if (value instanceof Float32Array || value instanceof Float64Array)
    return checkFinite(Float32Array.from(value), record);
  if (!Array.isArray(value)) throw wrongType(record, 'vector', 'a list of numbers', value);
  const wrong = value.findIndex((each) => typeof each !== 'number');
  if (wrong >= 0) throw wrongType(record, `vector[${wrong}]`, 'a number', value[wrong]);
  return checkFinite(Float32Array.from(value as number[]), record);
}

/** @throws DataError for a vector with a number that is not finite in f32 */
function checkFinite(vector: Float32Array, record: DataRecord): Float32Array {
  const wrong = vector.findIndex((value) => !Number.isFinite(value));
  if (wrong < 0) return vector;
  throw new DataError(`vector[${wrong}] is ${vector[wrong]}, not a finite number`, {
    ...record,
    help: 'embed this text again, or leave the row out',
  });
}

function metadataOf(record: DataRecord): Readonly<Record<string, unknown>> | null {
  if (!hasValue(record, 'metadata')) return null;
  const value = record.fields.metadata;
  let found = value;
  if (typeof value === 'string') {
    try {
      found = JSON.parse(value);
    } catch {
      throw wrongType(record, 'metadata', 'an object as JSON', value);
    }
  }
  if (typeof found === 'object' && found !== null && !Array.isArray(found))
    return found as Record<string, unknown>;
  throw wrongType(record, 'metadata', 'an object', value);
}

function countOf(record: DataRecord, name: string): number {
  if (!hasValue(record, name)) return 0;
  const value = record.fields[name];
  const number = value instanceof Date ? value.getTime() : typeof value === 'bigint' ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number) && number >= 0) return number;
  throw wrongType(record, name, 'a number ≥ 0', value);
}

function flagOf(record: DataRecord, name: string): boolean {
  if (!hasValue(record, name)) return false;
  const value = record.fields[name];
  if (typeof value === 'boolean') return value;
  throw wrongType(record, name, 'true or false', value);
}
