import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { readAnswers } from './answers.ts';
import { attemptRow, type BadRows, onBadLine } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { type Corpus, CorpusBuilder, type CorpusRecord, quote } from './corpus.ts';
import { lacksHeader } from './delimited.ts';
import { FileLog } from './file-log.ts';
import { readBytes, readLines } from './lines.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { type ReadJudgements, readJudgements } from './qrels.ts';
import { type DataRecord, idField, placeOf, recordNumber, textField } from './record.ts';
import { chosenNames, isRecordFile, type RecordSource, recordsOfFile } from './records.ts';
import {
  DEV_NAMES,
  normaliseSplits,
  type RetrievalData,
  retrievalData,
  type Split,
  splitFilter,
} from './retrieval-data.ts';

/** Files of a BEIR folder. */
export interface BeirLayout {
  /** Folder of the data set. */
  readonly folder: string;
  /** Files of the documents. */
  readonly corpus: readonly string[];
  /** Files of the queries. */
  readonly queries: readonly string[];
  /** Split → qrels files. */
  readonly qrels: ReadonlyMap<string, readonly string[]>;
}

/**
 * Finds the files of a BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, each plain or
 * `.gz`.
 *
 * CSV, TSV and Parquet are accepted instead of JSONL, and so are folders `corpus/` and `queries/` with such
 * parts, as on the Hugging Face hub.
 *
 * @param options.documents  documents in place of those of the folder, which may then be absent
 * @throws DataError when corpus or queries are absent, or present twice
 */
export async function openBeir(
  folder: string,
  { documents }: Pick<LoadOptions, 'documents'> = {},
): Promise<BeirLayout> {
  const corpus = documents ? [] : await roleFiles(folder, 'corpus');
  const queries = await roleFiles(folder, 'queries');
  for (const [role, files] of [
    ['corpus', corpus],
    ['queries', queries],
  ] as const) {
    if (files.length > 0 || (role === 'corpus' && documents)) continue;
    throw new DataError(`no ${role}.jsonl or ${role}.jsonl.gz`, {
      file: folder,
      help: 'a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/<split>.tsv',
    });
  }
  return { folder, corpus, queries, qrels: await qrelsFiles(folder) };
}

/**
 * Loads a BEIR folder.
 *
 * @throws DataError for invalid lines, duplicate ids, unknown ids in qrels, and empty files
 */
export async function loadRetrievalData(
  folder: string,
  options: ReadingOptions = {},
): Promise<RetrievalData> {
  const { documents } = options;
  const layout = await openBeir(folder, options);
  const isWanted = splitFilter(options.splits, layout.qrels.keys(), folder);
  const log = new FileLog(options.onProgress);
  const notes: string[] = [];
  const columns = judgedColumns('documents', options);
  const corpus =
    documents?.corpus ?? (await readCorpus(layout.corpus, 'document', options, { log, columns }));
  const queries = await readCorpus(layout.queries, 'query', options, { log, columns });
  columns.check(folder);
  const splits = await readSplits(layout.qrels, { queries, corpus, options, isWanted, log, notes });
  const answered = await folderAnswers(folder, queries, options, log);
  notes.push(...(answered?.notes ?? []));
  const fingerprint = joinFingerprints(log.fingerprint(), documents);
  const answers = answered?.answers.of;
  return retrievalData({ path: folder, corpus, queries, splits, fingerprint, notes, answers });
}

/**
 * Reads `answers.jsonl` (or another format of records) of a folder, where answers are asked for and there are some. Where they are not
 * asked for, only the bytes are read, for the fingerprint: methods with and without answers then see the same data.
 */
async function folderAnswers(
  folder: string,
  queries: Corpus,
  options: ReadingOptions,
  log: FileLog,
): Promise<Awaited<ReturnType<typeof readAnswers>> | undefined> {
  const files = await roleFiles(folder, 'answers');
  if (files.length === 0) return undefined;
  if (!options.answers) {
    for (const file of files) {
      const onBytes = await log.watch(file, `answers/${basename(file)}`);
      for await (const bytes of readBytes(file)) onBytes(bytes);
    }
    return undefined;
  }
  const sources = files.map((file) => recordsOfFile(file, 'answers', log, options));
  return await readAnswers(sources, queries, options);
}

/** Joins the fingerprint of the files of a data set with that of documents from elsewhere. */
export const joinFingerprints = (files: string, documents: LoadOptions['documents']): string =>
  documents ? `${files}+${documents.fingerprint}` : files;

/** Reads the qrels of the wanted splits. Of the other splits only the bytes are read, for the fingerprint. */
export async function readSplits(
  qrels: ReadonlyMap<string, readonly string[]>,
  into: {
    queries: Corpus;
    corpus: Corpus;
    options: ReadingOptions;
    isWanted: (split: string) => boolean;
    log: FileLog;
    /** Receives one line per split with judgements left out. */
    notes: string[];
  },
): Promise<Map<string, Split | DataError>> {
  const { queries, corpus, options, isWanted, log, notes } = into;
  const splits = new Map<string, Split | DataError>();
  for (const [name, files] of qrels) {
    const observers = new Map<string, (bytes: Uint8Array) => void>();
    for (const file of files) observers.set(file, await log.watch(file, join('qrels', basename(file))));
    if (!isWanted(name)) {
      for (const [file, onBytes] of observers) for await (const bytes of readBytes(file)) onBytes(bytes);
      continue;
    }
    const watch = (file: string) => observers.get(file);
    const read = () => readJudgements(files, { ...options, queries, corpus, watch });
    splits.set(name, await judgedSplit(name, read, options, notes));
  }
  return splits;
}

/**
 * Reads the judgements of a split, and notes those left out and those of absent documents.
 *
 * @returns  the split, or its error if it is none of the splits that are needed
 */
export async function judgedSplit(
  name: string,
  read: () => Promise<ReadJudgements>,
  { neededSplits }: Pick<LoadOptions, 'neededSplits'>,
  notes: string[],
): Promise<Split | DataError> {
  try {
    const judgements = await read();
    const { skipped, missing, missingNote } = judgements;
    if (skipped > 0)
      notes.push(`split ${name}: left out ${skipped} judgement${skipped === 1 ? '' : 's'} of unknown ids`);
    if (missingNote) notes.push(`split ${name}: ${missingNote}`);
    return { judgements, negativesAreJudged: true, ...(missing && { missing }) };
  } catch (error) {
    if (!(error instanceof DataError) || isNeeded(name, neededSplits)) throw error;
    notes.push(`split ${name} cannot be used: ${error.marked.message}`);
    return error;
  }
}

const isNeeded = (name: string, needed: readonly string[] | undefined): boolean =>
  needed?.some((each) => each === name || (name === 'dev' && DEV_NAMES.includes(each))) ?? true;

/** Columns of a data set of documents, queries and judgements, whose files may differ in their names. */
export const judgedColumns = (
  kind: 'documents' | 'judgements',
  { columns }: Pick<LoadOptions, 'columns'>,
): ColumnChoice =>
  new ColumnChoice(kind, columns, {
    others: ['documents', 'judgements'],
    fallsBack: kind === 'documents',
  });

/** Settings of {@link readCorpus}. */
export interface ReadCorpusOptions {
  /** Observes the files. */
  log?: FileLog | undefined;
  /** Columns of the records. Default: those of documents. */
  columns?: ColumnChoice | undefined;
  /** Ids of the records: those of the data; those of the data if its first record has one; or their numbers. Default `given`. */
  ids?: 'given' | 'if given' | 'numbers' | undefined;
}

/**
 * Reads a corpus from JSONL, CSV, TSV or Parquet files with the fields `_id`, `text` and optionally `title`. A TSV file without a
 * header holds an id and a text.
 */
export async function readCorpus(
  files: readonly string[],
  noun: 'document' | 'query',
  options: ReadingOptions = {},
  { log = new FileLog(options.onProgress), columns, ids }: ReadCorpusOptions = {},
): Promise<Corpus> {
  const own = columns ?? new ColumnChoice('documents', options.columns);
  const builder = new CorpusBuilder({ file: files[0], noun });
  for (const file of files) {
    builder.from(file);
    if (await lacksHeader(file, chosenNames(options.columns))) {
      await addTsvTexts(builder, file, { noun, options, log });
      continue;
    }
    const records = recordsOfFile(file, noun, log, options);
    await addRecords(builder, records, { columns: own, badRows: options.badRows, ids });
  }
  const corpus = builder.finish();
  if (columns === undefined) own.check(files[0]!);
  return corpus;
}

/** Document or query with the record that it comes from. */
export interface DocumentRecord extends CorpusRecord {
  /** Fields of the record, by name. */
  readonly fields: DataRecord['fields'];
  /** File of the record. */
  readonly file: string;
}

/** Settings of {@link documentRecords}. */
interface RecordReading {
  readonly columns: ColumnChoice;
  readonly badRows?: BadRows | undefined;
  readonly ids?: ReadCorpusOptions['ids'];
  /** Read all columns, not only those of a role. Default false. */
  readonly allColumns?: boolean;
}

/** Streams records with an id, a text and perhaps a title. @throws DataError */
export async function* documentRecords(
  records: RecordSource,
  { columns, badRows, ids = 'given', allColumns = false }: RecordReading,
): AsyncGenerator<DocumentRecord> {
  let numbered = ids === 'numbers' ? true : ids === 'given' ? false : undefined;
  for await (const record of records(allColumns ? (names) => names : columns.select)) {
    const found = attemptRow(badRows, () => {
      const text = columns.first(record, 'text');
      const title = columns.first(record, 'title');
      const id = columns.first(record, 'id');
      if (text === undefined) throw columns.missing(record, 'text');
      numbered ??= id === undefined;
      if (id === undefined && !numbered) throw columns.missing(record, 'id');
      return {
        id: numbered ? String(recordNumber(record)) : idField(record, id!),
        title: title === undefined ? undefined : textField(record, title),
        text: textField(record, text),
        ...placeOf(record),
        fields: record.fields,
      };
    });
    if (found) yield found;
  }
}

/** Adds records with an id, a text and perhaps a title to a corpus. @throws DataError */
export async function addRecords(
  builder: CorpusBuilder,
  records: RecordSource,
  reading: RecordReading,
): Promise<void> {
  for await (const record of documentRecords(records, reading))
    attemptRow(reading.badRows, () => builder.add(record));
}

/**
 * Adds the `id ⇥ text` lines of a file without a header. A query id may occur again with the same text, as
 * `queries.dev.small.tsv` repeats queries of `queries.dev.tsv`.
 *
 * @throws DataError with file and line for a line that has not exactly two columns, or a repeated id
 */
export async function addTsvTexts(builder: CorpusBuilder, file: string, reading: TsvReading): Promise<void> {
  const sameTextAgain = reading.noun === 'query';
  for await (const record of tsvTexts(file, reading))
    attemptRow(reading.options.badRows, () => builder.add(record, { sameTextAgain }));
}

/** Settings of {@link tsvTexts}. */
interface TsvReading {
  readonly noun: 'document' | 'query';
  readonly options: ReadingOptions;
  readonly log: FileLog;
}

/**
 * Streams the `id ⇥ text` lines of a file without a header.
 *
 * @throws DataError with file and line for a line that has not exactly two columns
 */
export async function* tsvTexts(
  file: string,
  { noun, options, log }: TsvReading,
): AsyncGenerator<CorpusRecord & { readonly file: string }> {
  const onBytes = await log.watch(file, `${noun}/${basename(file)}`);
  for await (const { text: row, line } of readLines(file, {
    onBytes,
    maxLineBytes: options.maxLineBytes,
    onBadLine: onBadLine(options.badRows),
  })) {
    if (row.trim() === '') continue;
    const record = attemptRow(options.badRows, () => tsvRow(row, { file, line, noun }));
    if (record) yield { ...record, file };
  }
}

function tsvRow(
  row: string,
  { file, line, noun }: { file: string; line: number; noun: 'document' | 'query' },
): CorpusRecord {
  const tab = row.indexOf('\t');
  if (tab === -1 || row.includes('\t', tab + 1)) {
    throw new DataError(`${row.split('\t').length} columns: ${quote(row)}`, {
      file,
      line,
      help: `two columns are wanted, with one tab between them: ${noun} id, text; a file with other columns names them in its first line`,
    });
  }
  return { id: row.slice(0, tab).trim(), text: row.slice(tab + 1), line };
}

/**
 * Finds the file of a role, such as `corpus.jsonl`, in any format of records, or the parts in a folder named `<role>`; empty if
 * there is none.
 *
 * @throws DataError when several files match
 */
export async function roleFiles(folder: string, role: string): Promise<string[]> {
  const names = await listFolder(folder);
  const own = names.filter(
    (name) => isRecordFile(name) && new RegExp(`^${role}\\.[a-z]+(\\.gz)?$`, 'i').test(name),
  );
  if (own.length > 1) {
    throw new DataError(`holds ${own.join(' and ')}`, { file: folder, help: 'keep one of them' });
  }
  if (own.length === 1) return [join(folder, own[0]!)];
  if (!names.includes(role)) return [];
  const parts = await listFolder(join(folder, role)).catch(() => []);
  return parts.filter(isRecordFile).map((name) => join(folder, role, name));
}

async function qrelsFiles(folder: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  if (!(await listFolder(folder)).includes('qrels')) return found;
  for (const name of await listFolder(join(folder, 'qrels'))) {
    const split = /^([^.].*?)(-\d{5}-of-\d{5})?\.(tsv|csv|txt|jsonl|parquet)(\.gz)?$/i.exec(name)?.[1];
    if (split === undefined) continue;
    found.set(split, [...(found.get(split) ?? []), join(folder, 'qrels', name)]);
  }
  return normaliseSplits(found);
}

/** Lists the names in a folder, sorted. */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    throw fileError(error, folder, 'read');
  }
}
