import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { attemptRow, type BadRows } from './bad-rows.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { readBytes } from './lines.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { type ReadJudgements, readJudgements } from './qrels.ts';
import { idField, optionalTextField, placeOf, textField } from './record.ts';
import { type RecordSource, recordsOfFile } from './records.ts';
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

const ID_NAMES = ['_id', 'id', 'docid', 'doc_id'];
const TEXT_NAMES = ['text', 'contents', 'body'];
const TITLE_NAMES = ['title'];

/**
 * Finds the files of a BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, each plain or
 * `.gz`.
 *
 * Parquet is accepted instead of JSONL, and so are folders `corpus/` and `queries/` with JSONL or Parquet
 * parts, as on the Hugging Face hub.
 *
 * @throws DataError when corpus or queries are absent, or present twice
 */
export async function openBeir(folder: string): Promise<BeirLayout> {
  const corpus = await roleFiles(folder, 'corpus');
  const queries = await roleFiles(folder, 'queries');
  for (const [role, files] of [
    ['corpus', corpus],
    ['queries', queries],
  ] as const) {
    if (files.length > 0) continue;
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
  const layout = await openBeir(folder);
  const isWanted = splitFilter(options.splits, layout.qrels.keys(), folder);
  const log = new FileLog(options.onProgress);
  const notes: string[] = [];
  const corpus = await readCorpus(layout.corpus, 'document', options, log);
  const queries = await readCorpus(layout.queries, 'query', options, log);
  const splits = await readSplits(layout.qrels, { queries, corpus, options, isWanted, log, notes });
  return retrievalData({ path: folder, corpus, queries, splits, fingerprint: log.fingerprint(), notes });
}

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

/** Reads a corpus from JSONL or Parquet files with the fields `_id`, `text` and optionally `title`. */
export async function readCorpus(
  files: readonly string[],
  noun: 'document' | 'query',
  options: ReadingOptions = {},
  log = new FileLog(options.onProgress),
): Promise<Corpus> {
  const builder = new CorpusBuilder({ file: files[0], noun });
  for (const file of files) {
    await addRecords(builder.from(file), recordsOfFile(file, noun, log, options), options.badRows);
  }
  return builder.finish();
}

/** Adds records with an id, a text and perhaps a title to a corpus. @throws DataError */
export async function addRecords(
  builder: CorpusBuilder,
  records: RecordSource,
  badRows?: BadRows,
): Promise<void> {
  const wanted = [...ID_NAMES, ...TEXT_NAMES, ...TITLE_NAMES];
  for await (const record of records((names) => names.filter((name) => wanted.includes(name)))) {
    attemptRow(badRows, () =>
      builder.add({
        id: idField(record, ID_NAMES),
        title: optionalTextField(record, TITLE_NAMES),
        text: textField(record, TEXT_NAMES),
        ...placeOf(record),
      }),
    );
  }
}

/**
 * Finds `<role>.jsonl`, `.jsonl.gz` or `.parquet`, or the parts in a folder named `<role>`; empty if there is
 * none.
 *
 * @throws DataError when several files match
 */
export async function roleFiles(folder: string, role: string): Promise<string[]> {
  const names = await listFolder(folder);
  const own = names.filter((name) => new RegExp(`^${role}\\.(jsonl(\\.gz)?|parquet)$`, 'i').test(name));
  if (own.length > 1) {
    throw new DataError(`holds ${own.join(' and ')}`, { file: folder, help: 'keep one of them' });
  }
  if (own.length === 1) return [join(folder, own[0]!)];
  if (!names.includes(role)) return [];
  const parts = await listFolder(join(folder, role)).catch(() => []);
  return parts
    .filter((name) => /\.(jsonl(\.gz)?|parquet)$/i.test(name))
    .map((name) => join(folder, role, name));
}

async function qrelsFiles(folder: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  if (!(await listFolder(folder)).includes('qrels')) return found;
  for (const name of await listFolder(join(folder, 'qrels'))) {
    const split = /^([^.].*?)(-\d{5}-of-\d{5})?\.(tsv|txt|jsonl|parquet)(\.gz)?$/i.exec(name)?.[1];
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
