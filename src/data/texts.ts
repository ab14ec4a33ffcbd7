import { basename } from 'node:path';
import { readCorpus, roleFiles } from './beir.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { isFolder, loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import { readTsvCorpus } from './ms-marco.ts';
import { readPlainText } from './plain-text.ts';
import { optionalTextField, textField } from './record.ts';
import { readRecords } from './records.ts';
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
 * neither queries nor judgements. Ids are line numbers if the layout has no ids.
 *
 * @throws DataError with file and line for an invalid file, and for an empty one
 */
export async function loadTexts(named: string, options: LoadOptions = {}): Promise<Texts> {
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

async function readRecordTexts(file: string, { maxLineBytes }: LoadOptions, log: FileLog): Promise<Corpus> {
  const builder = new CorpusBuilder({ file });
  const onBytes = await log.watch(file, `document/${basename(file)}`);
  const columns = (names: readonly string[]) => names.filter((name) => FIELDS.includes(name));
  for await (const record of readRecords(file, { onBytes, maxLineBytes, columns })) {
    const [text, title] = [textField(record, TEXT_NAMES), optionalTextField(record, ['title'])];
    builder.add({ id: String(record.line), title, text, line: record.line });
  }
  return builder.finish();
}

const TEXT_NAMES = ['text', 'contents', 'body'];
const FIELDS = [...TEXT_NAMES, 'title'];
