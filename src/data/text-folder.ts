import { isUtf8 } from 'node:buffer';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError, UsageError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { attemptRow } from './bad-rows.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import type { FileLog } from './file-log.ts';
import { MAX_LINE_BYTES, readBytes } from './lines.ts';
import { PASSAGE_OPTIONS, type ReadingOptions } from './load-options.ts';
import { markdownPassages, type PassageSizes, textPassages } from './passages.ts';

/** Matches names of Markdown files. */
const MARKDOWN = /\.(md|markdown|mdx)$/i;
/** Matches names of text files. */
const TEXT = /\.(txt|text)$/i;
/** Folders that hold other people's files. */
const FOREIGN = ['node_modules'];
/** Number of skipped files that a note names. */
const NAMED = 5;
/** Number of bytes in which a byte 0 marks a binary file. */
const BINARY_BYTES = 8192;

/** Tells whether a path is that of a Markdown file. */
export const isMarkdown = (path: string): boolean => MARKDOWN.test(path);

/** Tells whether a name is that of a text or Markdown file that is no README or licence of a data set. */
export const isOwnText = (name: string): boolean =>
  (MARKDOWN.test(name) || TEXT.test(name)) && !/^(readme|license|licence|changelog|\.)/i.test(name);

/** Passage of a text or Markdown file. */
export interface TextPassage {
  readonly id: string;
  readonly title: string | undefined;
  readonly text: string;
  readonly file: string;
}

/** Settings of {@link streamTextFolder}. */
interface TextReading {
  readonly options: ReadingOptions;
  readonly log: FileLog;
  readonly notes: string[];
}

/** Files of a folder of texts, by their paths with `/` relative to the folder. */
interface TextFiles {
  readonly texts: readonly string[];
  /** Files that are neither text nor Markdown. */
  readonly others: readonly string[];
  /** Hidden files and folders, linked folders, and folders of other people's files. */
  readonly hidden: readonly string[];
}

/** Lists the text and Markdown files of a folder and of all folders in it, sorted. */
export async function textFiles(folder: string): Promise<TextFiles> {
  const texts: string[] = [];
  const others: string[] = [];
  const hidden: string[] = [];
  const visit = async (inside: string): Promise<void> => {
    const entries = await readdir(join(folder, inside), { withFileTypes: true }).catch((error) => {
      throw fileError(error, join(folder, inside), 'read');
    });
    for (const entry of entries) {
      const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
      const isText = MARKDOWN.test(path) || TEXT.test(path);
      if (entry.name.startsWith('.') || FOREIGN.includes(entry.name)) hidden.push(path);
      else if (entry.isDirectory()) await visit(path);
      else if (isText && (entry.isFile() || entry.isSymbolicLink())) texts.push(path);
      else (entry.isFile() ? others : hidden).push(path);
    }
  };
  await visit('');
  for (const list of [texts, others, hidden]) list.sort();
  return { texts, others, hidden };
}

/**
 * Streams text and Markdown files, cut into passages; one file is in memory at a time. The id of a passage is the path of its file,
 * `#`, and its number in the file, from 1. Files that are not UTF-8 count as bad rows; binary files are skipped.
 *
 * @param path  a folder, or one file
 * @param reading.notes  receives notes on what was read and skipped, when all passages have been taken
 * @throws DataError for a file that is not UTF-8, and where nothing is left
 */
export async function* streamTextFolder(
  path: string,
  { options, log, notes }: TextReading,
): AsyncGenerator<TextPassage, void> {
  const isFile = isMarkdown(path) || TEXT.test(path);
  const { texts, others, hidden } = isFile
    ? { texts: [basename(path)], others: [], hidden: [] }
    : await textFiles(path);
  const folder = isFile ? dirname(path) : path;
  const sizes = passageSizes(options);
  const binary: string[] = [];
  let passages = 0;
  for (const name of texts) {
    const file = join(folder, name);
    const text = await readText(file, name, { options, log });
    if (text === undefined) {
      binary.push(name);
      continue;
    }
    const found = (isMarkdown(name) ? markdownPassages : textPassages)(text, sizes);
    for (const [i, { title, text }] of found.entries())
      yield { id: `${name}#${i + 1}`, title: title === '' ? undefined : title, text, file };
    passages += found.length;
  }
  if (passages === 0) {
    throw new DataError('holds no text', {
      file: path,
      help: 'text files (.txt) and Markdown files (.md) are read, in all folders inside',
    });
  }
  notes.push(
    `${count(passages)} passages of at most ${sizes.words} words from ${count(texts.length - binary.length)} ${texts.length === 1 ? 'file' : 'files'}`,
    ...skipped('neither text nor Markdown', others),
    ...skipped('binary', binary),
    ...skipped('hidden, links or other people’s', hidden),
  );
}

/** Reads the passages of {@link streamTextFolder} into a corpus. */
export async function readTextFolder(
  path: string,
  options: ReadingOptions,
  log: FileLog,
): Promise<{ corpus: Corpus; notes: readonly string[] }> {
  const builder = new CorpusBuilder({ file: path });
  const notes: string[] = [];
  for await (const passage of streamTextFolder(path, { options, log, notes }))
    builder.from(passage.file).add(passage);
  return { corpus: builder.finish(), notes };
}

/** Sizes of passages that the options ask for. @throws UsageError for an overlap of more than half a passage */
function passageSizes({ passageWords, passageOverlap }: ReadingOptions): PassageSizes {
  const words = passageWords ?? PASSAGE_OPTIONS.passageWords.default;
  const usual = PASSAGE_OPTIONS.passageOverlap.default;
  const overlap = passageOverlap ?? usual;
  const half = words >> 1;
  if (overlap > half && overlap !== usual) {
    throw new UsageError(
      `${option('passageOverlap', overlap)} is more than half of ${option('passageWords', words)}`,
      { help: `${option('passageOverlap', half)} is the largest overlap of such passages` },
    );
  }
  return { words, overlap: Math.min(overlap, half) };
}

const skipped = (what: string, names: readonly string[]): string[] => {
  if (names.length === 0) return [];
  const more = names.length > NAMED ? ', …' : '';
  const files = names.length === 1 ? '1 file' : `${count(names.length)} files`;
  return [`skipped ${files} (${what}): ${names.slice(0, NAMED).join(', ')}${more}`];
};

/** Reads a whole text file with LF line ends; undefined for a binary file, and for one left out as a bad row. */
async function readText(
  file: string,
  name: string,
  { options, log }: { options: ReadingOptions; log: FileLog },
): Promise<string | undefined> {
  const onBytes = await log.watch(file, `document/${name}`);
  const chunks: Buffer[] = [];
  let size = 0;
  const { maxLineBytes = MAX_LINE_BYTES } = options;
  for await (const bytes of readBytes(file, onBytes)) {
    size += bytes.length;
    if (size > maxLineBytes) {
      throw new DataError(`the file is longer than ${count(maxLineBytes)} bytes`, {
        file,
        help: 'split it into several files',
      });
    }
    chunks.push(bytes);
  }
  const bytes = Buffer.concat(chunks);
  const isUtf16 = bytes.length >= 2 && [0xfeff, 0xfffe].includes(bytes.readUInt16BE(0));
  if (!isUtf16 && bytes.subarray(0, BINARY_BYTES).includes(0)) return undefined;
  return (
    attemptRow(options.badRows, () => {
      if (!isUtf16 && isUtf8(bytes)) return textOf(bytes);
      const help = `save it as UTF-8, for example with iconv -f ${isUtf16 ? 'UTF-16' : 'LATIN1'} -t UTF-8`;
      throw new DataError('not UTF-8', { file, line: isUtf16 ? 1 : firstBadLine(bytes), help });
    }) ?? ''
  );
}

/** Decodes UTF-8 without a byte order mark, with LF line ends. */
const textOf = (bytes: Buffer): string =>
  bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .replace(/\r\n?/g, '\n');

/** Number of the first line that is not UTF-8. */
function firstBadLine(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(0x0a, start);
    if (!isUtf8(bytes.subarray(start, end === -1 ? undefined : end)) || end === -1) break;
    start = end + 1;
  }
  return line;
}
