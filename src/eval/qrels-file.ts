import { UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { Qrels } from './metrics.ts';
import { requireId } from './text-fields.ts';

/**
 * Writes relevance judgements as a TREC qrels file, one `qid 0 docid grade` per line, streamed and
 * atomically. `readQrels` in `src/data/` reads such files.
 *
 * @throws UndriftError for an id that is empty or holds white space, or a grade that is not a whole number.
 *   No file is left at `file` in that case.
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
