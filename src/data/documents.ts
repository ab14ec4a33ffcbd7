import { basename } from 'node:path';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { BadRows } from './bad-rows.ts';
import { judgedColumns, listFolder, type ReadCorpusOptions, readCorpus, roleFiles } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { COLUMNS, type Role, rolesOf, TABLES, type TableKind } from './columns.ts';
import type { Corpus } from './corpus.ts';
import { lacksHeader } from './delimited.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { findPairFiles, isFolder, isSplitFile, loadPath } from './load.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { readPlainText } from './plain-text.ts';
import { numberOf } from './record.ts';
import { chosenNames, isRecordFile, readRecords } from './records.ts';
import type { RetrievalData } from './retrieval-data.ts';
import { scoredPairsOfFiles } from './scored-pairs.ts';
import { holdsTexts, isMarkdown, isOwnText, readTextFolder } from './text-folder.ts';

/** Documents of a path, and the data set that they belong to. */
export interface ReadDocuments {
  /** Documents. */
  readonly corpus: Corpus;
  /** Notes of the reader. */
  readonly notes: readonly string[];
  /** Fingerprint of the files. */
  readonly fingerprint: string;
  /** Data set, if there is more than documents. */
  readonly data?: RetrievalData;
}

/**
 * Loads documents alone, to encode or search them.
 *
 * Reads the corpus of a data set, the passages of pairs, the second texts of scored pairs, or one file of documents: JSONL, CSV, TSV
 * or Parquet with `text` and optionally `_id` and `title`; TSV without a header (id, text); or plain text with one document a line. A
 * Markdown file, and a folder of text and Markdown files, is cut into passages (see `passageWords`).
 * Documents without ids have the numbers of their lines or rows.
 *
 * @throws DataError for an invalid file
 */
export async function loadCorpus(named: string, options: LoadOptions = {}): Promise<Corpus> {
  const badRows = new BadRows(options.skipBadRows);
  const path = await findData(named, options);
  const { corpus, notes } = await badRows.during(() => readDocuments(path, { ...options, badRows }));
  for (const note of [...notes, ...badRows.notes()]) options.onNote?.(note);
  return corpus;
}

/**
 * Loads the queries of a data set, or the texts of a file of documents, to encode them as queries.
 *
 * @throws DataError for an invalid file
 */
export async function loadQueries(named: string, options: LoadOptions = {}): Promise<Corpus> {
  const badRows = new BadRows(options.skipBadRows);
  const path = await findData(named, options);
  const reading = { splits: [], ...options, badRows };
  const { corpus, data, notes } = await badRows.during(async (): Promise<ReadDocuments> => {
    if (!(await isFolder(path)) || (await roleFiles(path, 'queries')).length === 0)
      return await readDocuments(path, reading);
    const data = await loadPath(path, reading);
    return { ...data, data };
  });
  for (const note of [...notes, ...badRows.notes()]) options.onNote?.(note);
  return data?.queries ?? corpus;
}

/**
 * Reads the documents of a path in any layout that has documents.
 *
 * @param settings.ids  ids of records in a file of documents. Default `if given`
 * @param settings.around  reads the data set around a corpus too, if there are queries. Default false
 */
export async function readDocuments(
  path: string,
  options: ReadingOptions,
  { ids = 'if given', around = false }: { ids?: ReadCorpusOptions['ids']; around?: boolean } = {},
): Promise<ReadDocuments> {
  const log = new FileLog(options.onProgress);
  const alone = (corpus: Corpus): ReadDocuments => ({ corpus, notes: [], fingerprint: log.fingerprint() });
  const partOf = (data: RetrievalData): ReadDocuments => ({ ...data, data });
  const kind = await dataKind(path, options);
  const corpusFiles = (await isFolder(path)) ? await roleFiles(path, 'corpus') : [];
  if (corpusFiles.length > 0 && (kind === 'documents' || !around)) {
    const columns = judgedColumns('documents', options);
    const corpus = await readCorpus(corpusFiles, 'document', options, { log, columns });
    columns.check(path);
    return alone(corpus);
  }
  if (isMarkdown(path) || (kind === 'documents' && (await isFolder(path)))) {
    const { corpus, notes } = await readTextFolder(path, options, log);
    return { ...alone(corpus), notes };
  }
  if (kind === 'scored pairs')
    return partOf(await scoredPairsOfFiles((await findPairFiles(path))!, path, options));
  if (kind === 'pairs' || (await isFolder(path))) return partOf(await loadPath(path, options));
  if (isTable(path)) return alone(await readCorpus([path], 'document', options, { log, ids }));
  return alone(await readPlainText(path, options, log));
}

/**
 * Recognises the kind of the data at a path: `pairs` for every data set of queries with documents, `documents` for documents alone.
 *
 * @throws DataError for a path that does not exist
 * @throws UsageError for chosen columns that belong to no kind together
 */
export async function dataKind(path: string, options: LoadOptions): Promise<TableKind> {
  if (!(await isFolder(path))) {
    if (!isTable(path) || (await lacksHeader(path, chosenNames(options.columns)))) return 'documents';
    return await tableKind(path, options);
  }
  if ((await roleFiles(path, 'corpus')).length > 0)
    return (await roleFiles(path, 'queries')).length > 0 ? 'pairs' : 'documents';
  const [files] = (await findPairFiles(path))?.values() ?? [];
  const names = await listFolder(path);
  const isSplit = files !== undefined && isSplitFile(basename(files[0]!));
  if (isSplit) return await tableKind(files[0]!, options);
  // Parts of a layout whose corpus is missing are no documents.
  const isMsMarco = names.some((name) => /^collection\.tsv(\.gz)?$/.test(name));
  const isPart = names.includes('qrels') || (await roleFiles(path, 'queries')).length > 0;
  if (isMsMarco || isPart) return 'pairs';
  // A table beside texts is one file among others.
  if (files && !names.some(isOwnText)) return await tableKind(files[0]!, options);
  return (await holdsTexts(path, options)) ? 'documents' : 'pairs';
}

/** Tells whether a file is read as records. */
export const isTable = (path: string): boolean => isRecordFile(path) || /\.json$/i.test(path);

/** Kinds of table that have documents, each with the roles by which it is recognised. */
const SIGNS: readonly { kind: TableKind; has: readonly Role[]; lacks?: Role }[] = [
  { kind: 'pairs', has: TABLES.pairs.needs, lacks: 'text' },
  { kind: 'documents', has: ['text'] },
  { kind: 'scored pairs', has: ['sentence1', 'sentence2'] },
];

/** Tells whether a query and a passage have a similarity, a number that is no label, and so are a scored pair. */
function isGraded(
  names: readonly string[],
  fields: Readonly<Record<string, unknown>>,
  columns: NonNullable<LoadOptions['columns']>,
): boolean {
  if (Object.keys(columns).length > 0) return false;
  const scored = new ColumnChoice('scored pairs');
  if (!scored.fits(names, TABLES['scored pairs'].needs)) return false;
  const score = COLUMNS.score.names
    .map((name) => numberOf(fields[name]))
    .find((value) => value !== undefined);
  return score !== undefined && !Number.isInteger(score);
}

/**
 * Recognises the kind of a file of records by its columns, and by the roles of chosen columns.
 *
 * @throws UsageError for chosen roles that belong to no kind together
 */
async function tableKind(file: string, { columns = {}, maxLineBytes }: LoadOptions): Promise<TableKind> {
  const roles = Object.keys(columns) as Role[];
  const possible = SIGNS.filter(({ kind }) => roles.every((role) => rolesOf(kind).includes(role)));
  if (possible.length === 0) {
    const tables = SIGNS.map(({ kind }) => `${kind}: ${rolesOf(kind).join(', ')}`);
    throw new UsageError(`${option('columns')}: no kind of file has all of ${roles.join(', ')}`, {
      help: `columns of ${tables.join('; of ')}`,
    });
  }
  const usual = possible.find(({ kind }) => kind === 'documents') ?? possible[0]!;
  let columnNames: readonly string[] | undefined;
  // Of Parquet, one column decides: reading all of them would decode a whole group of rows.
  const select = (names: readonly string[]) => {
    columnNames = names;
    const scores = names.filter((name) => COLUMNS.score.names.some((score) => score === name));
    return scores.length > 0 ? scores : names.slice(0, 1);
  };
  const reading = { maxLineBytes, chosen: columns, select, onBadLine: () => {} };
  for await (const { fields } of readRecords(file, reading)) {
    const names = columnNames ?? Object.keys(fields).filter((name) => fields[name] !== null);
    const fits = (kind: TableKind, has: readonly Role[]) => new ColumnChoice(kind, columns).fits(names, has);
    const found = possible.find(
      ({ kind, has, lacks }) => fits(kind, has) && !(lacks && names.includes(lacks)),
    );
    return found?.kind === 'pairs' && isGraded(names, fields, columns)
      ? 'scored pairs'
      : (found ?? usual).kind;
  }
  return usual.kind;
}
