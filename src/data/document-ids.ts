import { createHash } from 'node:crypto';
import { DataError } from '../util/errors.ts';
import { ColumnChoice } from './column-choice.ts';
import { readLines } from './lines.ts';
import { isFolder } from './load.ts';
import { isParquet } from './parquet.ts';
import { idField, placeOf } from './record.ts';
import { isRecordFile, readRecords } from './records.ts';
import { streamTextCorpus } from './text-corpus.ts';

/**
 * Reads ids of documents:
 *
 * - of a file of records (JSONL, CSV, TSV or Parquet) the column `id`, which every record must have
 * - of a folder of texts or a data set, the ids of its documents
 * - of any other file, each line that is not blank is an id
 *
 * @throws DataError with file and line for a record without an id, and where there is none
 */
export async function readDocumentIds(path: string): Promise<ReadonlySet<string>> {
  const ids = new Set<string>();
  for await (const id of idsOf(path)) ids.add(id);
  if (ids.size > 0) return ids;
  throw new DataError('has no id of a document', { file: path, help: 'give one id a line' });
}

async function* idsOf(path: string): AsyncGenerator<string> {
  if (await isFolder(path)) {
    for await (const { id } of streamTextCorpus(path)) yield id;
    return;
  }
  if (!isRecordFile(path) && !(await isParquet(path))) {
    for await (const { text } of readLines(path)) if (text.trim() !== '') yield text.trim();
    return;
  }
  const columns = new ColumnChoice('documents');
  for await (const record of readRecords(path, { select: columns.select })) {
    const name = columns.first(record, 'id');
    if (name === undefined) {
      throw new DataError('the record has no id', {
        ...placeOf(record),
        help: 'give ids in a column "id", or a text file with one id a line',
      });
    }
    yield idField(record, name);
  }
}

/** Returns a digest of a set of ids, whatever their order: 16 hexadecimal digits. */
export function idsDigest(ids: ReadonlySet<string>): string {
  const hash = createHash('sha256');
  for (const id of [...ids].sort()) hash.update(JSON.stringify(id));
  return hash.digest('hex').slice(0, 16);
}
