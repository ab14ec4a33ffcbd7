import { DataError, UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { Qrels } from './metrics.ts';
import { readFields, requireId } from './text-fields.ts';

/**
 * Writes relevance judgements as a TREC qrels file, one `qid 0 docid grade` a line, as a stream and atomically.
 *
 * @throws UndriftError for an id that is empty or holds whitespace, or a grade that is not a whole number. Nothing is left at
 *   `file` then.
 */
export async function writeQrelsFile(file: string, qrels: Qrels): Promise<void> {
  await writeFileAtomic(file, qrelsLines(qrels));
}

async function* qrelsLines(qrels: Qrels): AsyncGenerator<string> {
  for (const [queryId, grades] of qrels) {
    requireId('query id', queryId);
    let lines = '';
    for (const [docId, grade] of grades) {
      requireId('document id', docId);
      if (!Number.isSafeInteger(grade)) {
        throw new UndriftError(
          `query "${queryId}", document "${docId}": the grade ${grade} is not a whole number`,
        );
      }
      lines += `${queryId} 0 ${docId} ${grade}\n`;
    }
    if (lines !== '') yield lines;
  }
}

/**
 * Reads a TREC qrels file (`.gz` too), `qid iteration docid grade` a line; the iteration counts for nothing. MS MARCO's
 * `qid 0 pid 1` is the same. (BEIR's three columns with a header belong to the data set readers.)
 *
 * @throws DataError with file and line for a wrong number of columns, a grade that is not a whole number, a document judged twice
 *   for a query; for a file that is missing, empty or not UTF-8.
 */
export async function readQrelsFile(file: string): Promise<Map<string, Map<string, number>>> {
  const qrels = new Map<string, Map<string, number>>();
  for await (const { fields, line } of readFields(file)) {
    const where = { file, line };
    if (fields.length !== 4) {
      throw new DataError(`expected 4 columns, found ${fields.length}`, {
        ...where,
        help:
          fields.length === 3
            ? 'three columns are BEIR qrels: give the data set folder instead'
            : 'a TREC qrels line is "qid 0 docid grade"; ids cannot hold spaces',
      });
    }
    const [queryId, , docId, text] = fields as [string, string, string, string];
    const grade = Number(text);
    if (!/^[+-]?[0-9]{1,9}$/.test(text))
      throw new DataError(`the grade "${text}" is not a whole number`, where);
    const grades = qrels.get(queryId) ?? new Map<string, number>();
    if (grades.has(docId))
      throw new DataError(`document "${docId}" is judged twice for query "${queryId}"`, where);
    grades.set(docId, grade);
    qrels.set(queryId, grades);
  }
  if (qrels.size === 0)
    throw new DataError('holds no judgements', { file, help: 'is this the qrels file you meant?' });
  return qrels;
}
