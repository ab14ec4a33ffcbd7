import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { BadRows } from './bad-rows.ts';
import { addRecords } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { contentFingerprint } from './content-fingerprint.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { checkDataInMemory, type DataInMemory, IN_MEMORY } from './data-in-memory.ts';
import { readDocuments } from './documents.ts';
import { findData } from './find-data.ts';
import { loadData } from './load.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { recordsInMemory } from './records.ts';
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
 * Reads documents for training without queries, in every layout that `loadCorpus` reads; of a file of records, the ids are the
 * numbers of the records. Data in memory is given as `{ texts }` (see `TextData`); of other data in memory the documents are read.
 * With `options.documents`, these are the texts, and the data, which may be left out, has queries for them.
 *
 * @throws DataError with file and line, or the position of the item, for invalid or empty data
 */
export async function loadTexts(
  named: string | DataInMemory | undefined,
  options: LoadOptions = {},
): Promise<Texts> {
  const badRows = new BadRows(options.skipBadRows);
  const texts = await badRows.during(() => readAll(named, { ...options, badRows }));
  return { ...texts, notes: [...texts.notes, ...badRows.notes()] };
}

async function readAll(named: string | DataInMemory | undefined, options: ReadingOptions): Promise<Texts> {
  const { documents } = options;
  if (named === undefined) {
    if (!documents) throw new UsageError(`${option('data')} is missing`);
    const { name, corpus, fingerprint } = documents;
    return { name, path: name, corpus, fingerprint, notes: [] };
  }
  if (documents) {
    // The data around the documents has queries to evaluate on.
    const data = await loadData(named, options);
    const { name, corpus, fingerprint, notes } = data;
    return { name, path: name, corpus, fingerprint, notes, data };
  }
  if (typeof named !== 'string') return await textsInMemory(named, options);
  const path = await findData(named, options);
  return {
    name: dataName(named),
    path,
    ...(await readDocuments(path, options, { ids: 'numbers', around: true })),
  };
}

async function textsInMemory(source: DataInMemory, options: ReadingOptions): Promise<Texts> {
  checkDataInMemory(source);
  const { name = IN_MEMORY } = source;
  if ('texts' in source) {
    const asFields = (item: unknown) => (typeof item === 'string' ? { text: item } : undefined);
    const records = recordsInMemory('texts', source.texts, options, asFields);
    const builder = new CorpusBuilder({ file: 'texts' });
    const columns = new ColumnChoice('documents', options.columns);
    await addRecords(builder, records, { columns, badRows: options.badRows, ids: 'numbers' });
    columns.check('texts');
    const corpus = builder.finish();
    return { name, path: name, corpus, fingerprint: contentFingerprint([corpus]), notes: [] };
  }
  const data = await loadData(source, options);
  return { name, path: name, corpus: data.corpus, fingerprint: data.fingerprint, notes: data.notes, data };
}
