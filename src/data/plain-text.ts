import { basename } from 'node:path';
import { onBadLine } from './bad-rows.ts';
import { Corpus, type CorpusRecord } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { readLines } from './lines.ts';
import type { ReadingOptions } from './load-options.ts';

/** Streams plain text, or gzip of it: one document per line, with the line number as id. Blank lines are skipped. */
export async function* streamPlainText(
  file: string,
  { maxLineBytes, onProgress, badRows }: ReadingOptions = {},
  log = new FileLog(onProgress),
): AsyncGenerator<CorpusRecord & { readonly file: string }> {
  const onBytes = await log.watch(file, `document/${basename(file)}`);
  for await (const { text, line } of readLines(file, {
    onBytes,
    maxLineBytes,
    onBadLine: onBadLine(badRows),
  })) {
    if (text.trim() !== '') yield { id: String(line), text, line, file };
  }
}

/** Reads the documents of {@link streamPlainText} into a corpus. */
export const readPlainText = (file: string, options: ReadingOptions = {}, log?: FileLog): Promise<Corpus> =>
  Corpus.from(streamPlainText(file, options, log), { file });
