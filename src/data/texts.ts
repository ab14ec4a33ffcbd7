import { attemptRow, BadRows } from './bad-rows.ts';
import { readCorpus, roleFiles } from './beir.ts';
import { contentFingerprint } from './content-fingerprint.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { checkDataInMemory, type DataInMemory, IN_MEMORY } from './data-in-memory.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { isFolder, loadData } from './load.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { readTsvCorpus } from './ms-marco.ts';
import { readPlainText } from './plain-text.ts';
import { optionalTextField, placeOf, recordNumber, textField } from './record.ts';
import { type RecordSource, recordsInMemory, recordsOfFile } from './records.ts';
import { dataName, type RetrievalData } from './retrieval-data.ts';

/** Documents alone, for training an encoder without supervision. */
export interface Texts {
  /** Name of the data set. */
  readonly name: string;
  /** Path of the file or folder. */
  readonly path: string;
  /** Documents. */
  readonly corpus: Corpus;
  /** Fingerprint of the files; that of the data set, if the documents belong to one. */
  readonly fingerprint: string;
  /** Notes of the reader. */
  readonly notes: readonly string[];
  /** Data set that the documents belong to, if there is more than documents. */
  readonly data?: RetrievalData;
}

/**
 * Reads documents for training without queries: a file of plain text (one document per line), JSONL or
 * Parquet with `text` and optionally `title`, TSV (id, text), or the corpus of a data folder, which needs
 * neither queries nor judgements. Ids are line numbers if the layout has no ids. Data in memory is given as
 * `{ texts }` (see `TextData`); of other data in memory the documents are read.
 *
 * @throws DataError with file and line, or the position of the item, for invalid or empty data
 */
export async function loadTexts(named: string | DataInMemory, options: LoadOptions = {}): Promise<Texts> {
  const badRows = new BadRows(options.skipBadRows);
  const texts = await badRows.during(() => readAll(named, { ...options, badRows }));
  return { ...texts, notes: [...texts.notes, ...badRows.notes()] };
}

async function readAll(named: string | DataInMemory, options: ReadingOptions): Promise<Texts> {
  if (typeof named !== 'string') return await textsInMemory(named, options);
  const path = await findData(named, options);
  const log = new FileLog(options.onProgress);
  const alone = (corpus: Corpus): Texts => {
    return { name: dataName(named), path, corpus, fingerprint: log.fingerprint(), notes: [] };
  };
  if (await isFolder(path)) {
    const files = await roleFiles(path, 'corpus');
    if (files.length > 0 && (await roleFiles(path, 'queries')).length === 0)
      return alone(await readCorpus(files, 'document', options, log));
    const data = await loadData(path, options);
    const { corpus, fingerprint, notes } = data;
    return { name: dataName(named), path, corpus, fingerprint, notes, data };
  }
  if (/\.(jsonl?(\.gz)?|parquet)$/i.test(path)) return alone(await readRecordTexts(path, options, log));
  if (/\.tsv(\.gz)?$/i.test(path)) return alone(await readTsvCorpus([path], 'document', options, log));
  return alone(await readPlainText(path, options, log));
}

async function textsInMemory(source: DataInMemory, options: ReadingOptions): Promise<Texts> {
  checkDataInMemory(source);
  const { name = IN_MEMORY } = source;
  if ('texts' in source) {
    const asFields = (item: unknown) => (typeof item === 'string' ? { text: item } : undefined);
    const records = recordsInMemory('texts', source.texts, options, asFields);
    const corpus = await readTexts('texts', records, options);
    return { name, path: name, corpus, fingerprint: contentFingerprint([corpus]), notes: [] };
  }
  const data = await loadData(source, options);
  return { name, path: name, corpus: data.corpus, fingerprint: data.fingerprint, notes: data.notes, data };
}

async function readRecordTexts(file: string, options: ReadingOptions, log: FileLog): Promise<Corpus> {
  return await readTexts(file, recordsOfFile(file, 'document', log, options), options);
}

/** Reads records with a text and perhaps a title; their numbers in the source, from 1, are their ids. @throws DataError */
async function readTexts(file: string, records: RecordSource, { badRows }: ReadingOptions): Promise<Corpus> {
  const builder = new CorpusBuilder({ file });
  for await (const record of records((names) => names.filter((name) => FIELDS.includes(name)))) {
    attemptRow(badRows, () => {
      const [text, title] = [textField(record, TEXT_NAMES), optionalTextField(record, ['title'])];
      builder.add({ id: String(recordNumber(record)), title, text, ...placeOf(record) });
    });
  }
  return builder.finish();
}

const TEXT_NAMES = ['text', 'contents', 'body'];
const FIELDS = [...TEXT_NAMES, 'title'];
