import { documentRecords } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { lacksHeader } from './delimited.ts';
import { type StreamedText, withUniqueIds } from './distinct-texts.ts';
import type { FileLog } from './file-log.ts';
import type { ReadingOptions } from './load-options.ts';
import { metadataOf } from './record-metadata.ts';
import { chosenNames, readRecords, recordsOfFile } from './records.ts';

/** Document of a table in a folder of files. */
export interface TableText extends StreamedText {
  /** Fields of its record that are neither id, title nor text; undefined if there are none. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Tells whether the first record of a table has a column of texts.
 *
 * @throws DataError for a damaged file
 */
export async function hasTexts(
  file: string,
  {
    columns,
    maxLineBytes,
    skipBadRows = 0,
  }: Pick<ReadingOptions, 'columns' | 'maxLineBytes' | 'skipBadRows'>,
): Promise<boolean> {
  if (await lacksHeader(file, chosenNames(columns))) return false;
  let names: readonly string[] = [];
  const select = (present: readonly string[]) => {
    names = present;
    return present.slice(0, 1);
  };
  for await (const { fields } of readRecords(file, {
    select,
    chosen: columns,
    maxLineBytes,
    onBadLine: skipBadRows > 0 ? () => {} : undefined,
  })) {
    if (names.length === 0) names = Object.keys(fields);
    break;
  }
  return new ColumnChoice('documents', columns).fits(names, ['text']);
}

/**
 * Streams the documents of a table in a folder. The id of a document is the path of the file, `#`, and the id of the record, or its
 * number where the records have none.
 *
 * @param name  path relative to the folder
 * @throws DataError for an invalid record, and for an id that occurs twice
 */
export async function* tableTexts(
  file: string,
  name: string,
  { columns, options, log }: { columns: ColumnChoice; options: ReadingOptions; log: FileLog },
): AsyncGenerator<TableText, void> {
  const { badRows } = options;
  const records = documentRecords(recordsOfFile(file, `document/${name}`, log, options), {
    columns,
    badRows,
    ids: 'if given',
    allColumns: true,
  });
  for await (const { fields, ...record } of withUniqueIds(records, { noun: 'document', badRows }))
    yield { ...record, id: `${name}#${record.id}`, metadata: metadataOf(fields, columns) };
}
