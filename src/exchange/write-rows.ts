import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openNpyWriter } from '../io/npy.ts';
import { UndriftError } from '../util/errors.ts';
import { openFileAtomic, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import type { ExchangeFormat, ExchangeRow, ExchangeSource } from './exchange-row.ts';
import { rowJson } from './exchange-row.ts';

/** Files of a folder of vectors in .npy. */
export const NPY_FILES = { vectors: 'vectors.npy', rows: 'rows.jsonl', manifest: 'manifest.json' } as const;
/** Format of these folders. */
export const NPY_FORMAT = 1;

/** Numbers of the vectors of one row group of Parquet. */
const GROUP_NUMBERS = 1 << 20;

type Report = (done: number) => void;

/**
 * Writes rows to a file or a folder, which appears under its name when it is complete.
 *
 * @returns  number of rows
 * @throws UndriftError if it cannot be written, or a folder of that name holds something else
 */
export async function writeRows(
  path: string,
  format: ExchangeFormat,
  source: ExchangeSource,
  report: Report,
): Promise<number> {
  const write = { jsonl: writeJsonl, parquet: writeParquet, npy: writeNpyFolder }[format];
  return await write(path, source, report);
}

async function writeJsonl(path: string, source: ExchangeSource, report: Report): Promise<number> {
  let count = 0;
  await writeFileAtomic(
    path,
    (async function* () {
      for await (const rows of source.rows()) {
        for (const row of rows) yield `${rowJson(row, true)}\n`;
        count += rows.length;
        report(count);
      }
    })(),
  );
  return count;
}

type Schema = ConstructorParameters<typeof import('hyparquet-writer').ParquetWriter>[0]['schema'];

/** Columns of Parquet. `time` is a timestamp in UTC, `vector` a list of f32. */
const SCHEMA: Schema = [
  { name: 'root', num_children: 9 },
  { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'title', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  // A text that holds JSON: readers give it back as it is.
  { name: 'metadata', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'space', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'step', type: 'INT32', repetition_type: 'REQUIRED' },
  { name: 'time', type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'REQUIRED' },
  { name: 'corrected', type: 'BOOLEAN', repetition_type: 'REQUIRED' },
  { name: 'vector', num_children: 1, converted_type: 'LIST', repetition_type: 'REQUIRED' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
];

async function writeParquet(path: string, source: ExchangeSource, report: Report): Promise<number> {
  const { ByteWriter, ParquetWriter } = await import('hyparquet-writer');
  const file = await openFileAtomic(path);
  try {
    const bytes = new ByteWriter();
    const { id, dimension, model } = source.space;
    const kvMetadata = Object.entries({ space: id, dimension: String(dimension), model }).map(
      ([key, value]) => ({
        key: `undrift.${key}`,
        value,
      }),
    );
    const writer = new ParquetWriter({
      writer: bytes,
      schema: SCHEMA,
      kvMetadata,
      createdBy: 'undrift',
      statistics: false,
    });
    const flush = async () => {
      await file.append(bytes.getBytes().slice());
      bytes.index = 0;
    };
    const groupRows = Math.max(64, Math.floor(GROUP_NUMBERS / dimension));
    let group: ExchangeRow[] = [];
    let count = 0;
    const writeGroup = async () => {
      await writer.write({ columnData: columnsOf(group), rowGroupSize: group.length });
      await flush();
      count += group.length;
      group = [];
      report(count);
    };
    for await (const rows of source.rows()) {
      for (const row of rows) {
        group.push(row);
        if (group.length === groupRows) await writeGroup();
      }
    }
    if (group.length > 0) await writeGroup();
    await writer.finish();
    await flush();
    await file.commit();
    return count;
  } catch (error) {
    await file.discard();
    throw error;
  }
}

function columnsOf(rows: readonly ExchangeRow[]) {
  const column = (name: string, of: (row: ExchangeRow) => unknown) => ({ name, data: rows.map(of) });
  return [
    column('id', ({ id }) => id),
    column('title', ({ title }) => title ?? undefined),
    column('text', ({ text }) => text ?? undefined),
    column('metadata', ({ metadata }) => (metadata === null ? undefined : JSON.stringify(metadata))),
    column('space', ({ space }) => space),
    column('step', ({ step }) => step),
    column('time', ({ time }) => new Date(time)),
    column('corrected', ({ corrected }) => corrected),
    { ...column('vector', ({ vector }) => Array.from(vector)), encoding: 'PLAIN' as const },
  ];
}

async function writeNpyFolder(folder: string, source: ExchangeSource, report: Report): Promise<number> {
  checkFolder(folder);
  let count = 0;
  const { id, dimension, model } = source.space;
  await writeFolderAtomic(folder, async (temporary) => {
    const npy = await openNpyWriter(join(temporary, NPY_FILES.vectors), {
      dtype: 'f32',
      rowDims: [dimension],
    });
    const lines = await openFileAtomic(join(temporary, NPY_FILES.rows));
    try {
      for await (const rows of source.rows()) {
        const vectors = new Float32Array(rows.length * dimension);
        for (const [i, { vector }] of rows.entries()) vectors.set(vector, i * dimension);
        await npy.append(vectors);
        await lines.append(rows.map((row) => `${rowJson(row, false)}\n`).join(''));
        count += rows.length;
        report(count);
      }
      await npy.close();
      await lines.commit();
    } catch (error) {
      await npy.discard();
      await lines.discard();
      throw error;
    }
    const manifest = { undriftVectors: NPY_FORMAT, space: id, dimension, model, rows: count };
    await writeFileAtomic(join(temporary, NPY_FILES.manifest), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  return count;
}

/** Checks that a folder may be replaced: it is absent, empty or of this kind. */
function checkFolder(folder: string): void {
  if (!existsSync(folder)) return;
  const own: readonly string[] = Object.values(NPY_FILES);
  const other = readdirSync(folder).find((name) => !own.includes(name));
  if (other === undefined) return;
  throw new UndriftError(`${folder} is not empty, and no folder of vectors (it holds ${other})`, {
    help: 'choose another folder',
  });
}
