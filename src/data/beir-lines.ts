import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { DataError, UndriftError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { quote } from './corpus.ts';

/** First line of a file of judgements in BEIR's layout. */
export const QRELS_HEAD = 'query-id\tcorpus-id\tscore\n';

/** Makes a line of judgements. @throws DataError for an id that no cell can hold */
export const qrelsLine = (query: string, document: string, grade: number): string =>
  `${cell(query)}\t${cell(document)}\t${grade}\n`;

/** Returns an id as a cell of a table. @throws DataError for an id that no cell can hold */
function cell(id: string): string {
  if (/^\S([^\t\r\n]*\S)?$/.test(id)) return id;
  throw new DataError(`the id ${quote(id)} has white space that a table of judgements cannot hold`, {
    file: 'qrels',
    help: 'rename it in the data',
  });
}

/** Checks that a data set can be written into a folder. @throws UndriftError where the folder holds something */
export async function checkEmptyFolder(out: string): Promise<void> {
  if (!existsSync(out) || (await readdir(out).catch(() => ['a file'])).length === 0) return;
  throw new UndriftError(`${out} is not empty`, { help: `choose another ${option('out')}` });
}
