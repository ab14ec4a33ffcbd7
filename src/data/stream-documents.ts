import { DataError } from '../util/errors.ts';
import { BadRows } from './bad-rows.ts';
import { documentRecords, judgedColumns, roleFiles, tsvTexts } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { lacksHeader } from './delimited.ts';
import { type StreamedText, withUniqueIds } from './distinct-texts.ts';
import { dataKind, isTable } from './documents.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { findPairFiles, isFolder, loadPath } from './load.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { isMsMarco, openMsMarco } from './ms-marco.ts';
import { streamPairTexts } from './pairs.ts';
import { streamPlainText } from './plain-text.ts';
import { metadataOf } from './record-metadata.ts';
import { chosenNames, recordsOfFile } from './records.ts';
import { streamScoredTexts } from './scored-pairs.ts';
import { isMarkdown, streamTextFolder } from './text-folder.ts';

/** Document or query of a stream. */
export interface StreamedDocument extends StreamedText {
  /** Fields of its record that are neither id, title nor text; undefined if there are none. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

type Side = 'query' | 'document';

type TextStream = AsyncGenerator<StreamedDocument, void>;

/**
 * Streams the documents of a path in every layout that `loadCorpus` reads, with the same ids and texts.
 *
 * Memory: 15 to 24 bytes a document, which find ids or passages that occur twice; of folders of texts, one file.
 *
 * @throws DataError for an invalid file, an id that is empty or occurs twice, and where there is no document
 */
export const streamDocuments = (named: string, options: LoadOptions = {}): AsyncGenerator<StreamedDocument> =>
  streamTexts(named, 'document', options);

/**
 * Streams the queries of a data set in every layout that `loadQueries` reads, or the texts of a file of documents.
 *
 * Memory: 15 to 48 bytes a query.
 *
 * @throws DataError for an invalid file, an id that is empty or occurs twice, and where there is no query
 */
export const streamQueries = (named: string, options: LoadOptions = {}): AsyncGenerator<StreamedDocument> =>
  streamTexts(named, 'query', options);

/**
 * Streams documents or queries; with `wholeFiles`, a text or Markdown file is one document.
 *
 * @throws DataError as `streamDocuments`
 */
export async function* streamTexts(
  named: string,
  side: Side,
  options: ReadingOptions,
): AsyncGenerator<StreamedDocument> {
  const badRows = new BadRows(options.skipBadRows);
  const path = await findData(named, options);
  const notes: string[] = [];
  let any = false;
  let failure: unknown;
  try {
    for await (const text of await openTexts(path, side, { ...options, badRows }, notes)) {
      any = true;
      yield text;
    }
  } catch (error) {
    failure = error;
  }
  // Throws if more rows were bad than may be.
  await badRows.during(async () => {
    if (failure !== undefined) throw failure;
    if (any) return;
    throw new DataError(`holds no ${side}`, { file: path, help: 'was the file written completely?' });
  });
  for (const note of [...notes, ...badRows.notes()]) options.onNote?.(note);
}

/** Opens the texts of a path in its layout. */
async function openTexts(
  path: string,
  side: Side,
  options: ReadingOptions,
  notes: string[],
): Promise<TextStream> {
  const log = new FileLog(options.onProgress);
  const inFolder = await isFolder(path);
  const files = inFolder ? await roleFiles(path, side === 'query' ? 'queries' : 'corpus') : [];
  if (files.length > 0) return streamRecords(files, side, { path, options, log });
  const kind = await dataKind(path, options);
  if (isMarkdown(path) || (kind === 'documents' && inFolder)) {
    // Documents that are asked for as queries.
    const corpus = inFolder ? await roleFiles(path, 'corpus') : [];
    return corpus.length > 0
      ? streamRecords(corpus, 'document', { path, options, log })
      : streamTextFolder(path, { options, log, notes });
  }
  if (inFolder && (await isMsMarco(path))) return streamMsMarco(path, side, { options, log });
  const pairs = kind === 'documents' ? undefined : await findPairFiles(path);
  if (pairs) {
    const stream = kind === 'scored pairs' ? streamScoredTexts : streamPairTexts;
    return stream(path, pairs, side, { options, log });
  }
  if (inFolder) await loadPath(path, options); // says what was looked for
  if (isTable(path)) return streamRecords([path], 'document', { path, options, log, isAlone: true });
  return options.wholeFiles
    ? streamTextFolder(path, { options, log, notes, isFile: true })
    : streamPlainText(path, options, log);
}

async function* streamMsMarco(path: string, side: Side, { options, log }: Reading): TextStream {
  const { collection, queries } = await openMsMarco(path);
  const files = side === 'query' ? queries : [collection!];
  async function* texts() {
    for (const file of files) yield* tsvTexts(file, { noun: side, options, log });
  }
  yield* withUniqueIds(texts(), { noun: side, badRows: options.badRows, sameTextAgain: side === 'query' });
}

/** Settings of a reader, and the observer of its files. */
interface Reading {
  readonly options: ReadingOptions;
  readonly log: FileLog;
}

/**
 * Streams files of records, or of `id ⇥ text` lines.
 *
 * @param reading.isAlone  the path is one file of documents, whose ids may be absent
 */
async function* streamRecords(
  files: readonly string[],
  side: Side,
  { path, options, log, isAlone = false }: Reading & { readonly path: string; readonly isAlone?: boolean },
): TextStream {
  const { badRows } = options;
  const columns = isAlone
    ? new ColumnChoice('documents', options.columns)
    : judgedColumns('documents', options);
  async function* texts(): AsyncGenerator<StreamedDocument> {
    for (const file of files) {
      if (await lacksHeader(file, chosenNames(options.columns))) {
        yield* tsvTexts(file, { noun: side, options, log });
        continue;
      }
      const records = recordsOfFile(file, side, log, options);
      const ids = isAlone ? 'if given' : 'given';
      const allColumns = side === 'document';
      for await (const { fields, ...record } of documentRecords(records, {
        columns,
        badRows,
        ids,
        allColumns,
      }))
        yield { ...record, metadata: allColumns ? metadataOf(fields, columns) : undefined };
      columns.check(path);
    }
  }
  yield* withUniqueIds(texts(), { noun: side, badRows });
}
