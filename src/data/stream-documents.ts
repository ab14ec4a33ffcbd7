import { BadRows } from './bad-rows.ts';
import { documentRecords, judgedColumns, roleFiles } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import type { CorpusRecord } from './corpus.ts';
import { lacksHeader } from './delimited.ts';
import { dataKind, readDocuments } from './documents.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { isFolder } from './load.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { chosenNames, isRecordFile, recordsOfFile } from './records.ts';

/** Document of a stream. */
export interface StreamedDocument extends CorpusRecord {
  /** File of the document. */
  readonly file: string;
  /** Fields of its record that are neither id, title nor text; undefined if there are none. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Streams the documents of a path in every layout that `loadCorpus` reads. Files of records (JSONL, CSV, TSV, Parquet) are never held
 * as a whole; the passages of pairs, folders of texts and plain text are read first.
 *
 * Ids are not checked to be unique, because that would take memory for each of them.
 *
 * @throws DataError for an invalid file
 */
export async function* streamDocuments(
  named: string,
  options: LoadOptions = {},
): AsyncGenerator<StreamedDocument> {
  const badRows = new BadRows(options.skipBadRows);
  const path = await findData(named, options);
  const reading: ReadingOptions = { ...options, badRows };
  const files = await documentFiles(path, reading);
  if (files === undefined) {
    const { corpus, notes } = await badRows.during(() => readDocuments(path, reading));
    for (const note of notes) options.onNote?.(note);
    for (let row = 0; row < corpus.size; row++)
      yield { id: corpus.id(row), text: corpus.text(row), file: path };
  } else {
    const log = new FileLog(options.onProgress);
    const isAlone = files.length === 1 && files[0] === path;
    const columns = isAlone
      ? new ColumnChoice('documents', options.columns)
      : judgedColumns('documents', options);
    for (const file of files) {
      const records = recordsOfFile(file, 'document', log, reading);
      const found = documentRecords(records, {
        columns,
        badRows,
        ids: isAlone ? 'if given' : 'given',
        allColumns: true,
      });
      for await (const { fields, ...record } of found) {
        yield { ...record, metadata: metadataOf(fields, columns) };
      }
    }
    columns.check(path);
  }
  // Throws if more rows were bad than may be.
  await badRows.during(async () => {});
  for (const note of badRows.notes()) options.onNote?.(note);
}

/** Lists the files of records that hold documents; undefined if the documents are in another form. */
async function documentFiles(path: string, options: ReadingOptions): Promise<readonly string[] | undefined> {
  const files = (await isFolder(path)) ? await roleFiles(path, 'corpus') : isRecordFile(path) ? [path] : [];
  if (files.length === 0 || (files[0] === path && (await dataKind(path, options)) !== 'documents'))
    return undefined;
  for (const file of files) if (await lacksHeader(file, chosenNames(options.columns))) return undefined;
  return files;
}

/** Collects the fields that have no role. Those of an object `metadata`, as BEIR has it, are taken out of it. */
function metadataOf(
  fields: Readonly<Record<string, unknown>>,
  columns: ColumnChoice,
): Readonly<Record<string, unknown>> | undefined {
  const roles = new Set((['id', 'title', 'text'] as const).flatMap((role) => columns.names(role)));
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (roles.has(name) || value === null || value === undefined) continue;
    const isObject = typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
    if (name === 'metadata' && isObject) Object.assign(found, plain(value));
    else found[name] = plain(value);
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

/** Converts a value to what JSON can hold; Parquet has whole numbers of 64 bits and dates. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return undefined;
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
  }
  return value;
}
