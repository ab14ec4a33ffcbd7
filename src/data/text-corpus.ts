import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { BadRows } from './bad-rows.ts';
import { documentRecords } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { checkDataInMemory, type DataInMemory, IN_MEMORY } from './data-in-memory.ts';
import { withUniqueIds } from './distinct-texts.ts';
import type { LoadOptions } from './load-options.ts';
import { recordsInMemory } from './records.ts';
import { dataName } from './retrieval-data.ts';
import { streamTexts } from './stream-documents.ts';

/** Document of a corpus of texts. */
export interface TextDocument {
  /** Id, unique in the corpus. */
  readonly id: string;
  /** Title; undefined where the document has none. */
  readonly title?: string | undefined;
  /** Text, not blank. */
  readonly text: string;
}

/** Settings of {@link streamTextCorpus}. */
export type TextCorpusOptions = Pick<
  LoadOptions,
  'columns' | 'skipBadRows' | 'maxLineBytes' | 'onProgress' | 'onNote'
>;

/** Returns the name of a corpus of texts, for messages and settings. */
export const textCorpusName = (source: string | DataInMemory): string =>
  typeof source === 'string' ? dataName(source) : (source.name ?? IN_MEMORY);

/**
 * Streams the documents of a corpus of texts, for language models. One document is in memory at a time.
 *
 * - A file of records (JSONL, CSV, TSV or Parquet) gives a document for each record: its column `text`, and its id and title where it
 *   has them. Without ids, the numbers of the records are the ids.
 * - A text or Markdown file is one document, whose id is the name of the file. So is each such file of a folder, in all folders
 *   inside; its id is its path in the folder.
 * - Of a data set for retrieval, the documents are read.
 * - `{ texts }` in memory gives a document for each item.
 *
 * Text formats may be compressed by gzip. Blank documents are left out, and a note counts them.
 *
 * @throws DataError with file and line for an invalid record, an id that occurs twice, a text file of more than 64 MiB, and where there
 *   is no document
 */
export async function* streamTextCorpus(
  source: string | DataInMemory,
  options: TextCorpusOptions = {},
): AsyncGenerator<TextDocument, void> {
  let blank = 0;
  let first = '';
  const documents =
    typeof source === 'string'
      ? streamTexts(source, 'document', { ...options, wholeFiles: true })
      : textsInMemory(source, options);
  for await (const { id, title, text } of documents) {
    if (text.trim() !== '') {
      yield { id, ...(title !== undefined && title !== '' && { title }), text };
      continue;
    }
    if (blank === 0) first = id;
    blank += 1;
  }
  if (blank === 0) return;
  const others = blank === 1 ? '' : ` and ${count(blank - 1)} more`;
  options.onNote?.(`left out documents without text: ${first}${others}`);
}

async function* textsInMemory(source: DataInMemory, options: TextCorpusOptions) {
  checkDataInMemory(source);
  if (!('texts' in source)) {
    throw new UsageError('data for a language model should have texts', {
      help: 'give a path, or { texts: ["…", { id: "2", text: "…" }] }',
    });
  }
  const badRows = new BadRows(options.skipBadRows);
  const asFields = (item: unknown) => (typeof item === 'string' ? { text: item } : undefined);
  const records = recordsInMemory('texts', source.texts, { ...options, badRows }, asFields);
  const columns = new ColumnChoice('documents', options.columns);
  yield* withUniqueIds(documentRecords(records, { columns, badRows, ids: 'if given' }), {
    noun: 'document',
    badRows,
  });
  await badRows.during(async () => columns.check('texts'));
  for (const note of badRows.notes()) options.onNote?.(note);
}
