import { basename } from 'node:path';
import { onBadLine } from './bad-rows.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { readLines } from './lines.ts';
import type { ReadingOptions } from './load-options.ts';

/** Reads plain text, or gzip of it: one document per line, with the line number as id. Blank lines are skipped. */
export async function readPlainText(
  file: string,
  { maxLineBytes, onProgress, badRows }: ReadingOptions = {},
  log = new FileLog(onProgress),
): Promise<Corpus> {
  const builder = new CorpusBuilder({ file });
  const onBytes = await log.watch(file, `document/${basename(file)}`);
  for await (const { text, line } of readLines(file, {
    onBytes,
    maxLineBytes,
    onBadLine: onBadLine(badRows),
  })) {
    if (text.trim() !== '') builder.add({ id: String(line), text, line });
  }
  return builder.finish();
}
