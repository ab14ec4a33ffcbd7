import { isUtf8 } from 'node:buffer';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError, UsageError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { attemptRow } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import type { FileLog } from './file-log.ts';
import { hasTexts, tableTexts } from './folder-tables.ts';
import { inflate, MAX_LINE_BYTES, readBytes } from './lines.ts';
import { PASSAGE_OPTIONS, type ReadingOptions } from './load-options.ts';
import { markdownPassages, type PassageSizes, textPassages } from './passages.ts';
import { isRecordFile } from './records.ts';

/** Matches names of Markdown files, plain or gzip. */
const MARKDOWN = /\.(md|markdown|mdx)(\.gz)?$/i;
/** Matches names of text files, plain or gzip. */
const TEXT = /\.(txt|text)(\.gz)?$/i;
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

/** Passage of a text or Markdown file, or document of a table. */
export interface TextPassage {
  readonly id: string;
  readonly title?: string | undefined;
  readonly text: string;
  readonly file: string;
  /** Further fields of a record. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** Settings of {@link streamTextFolder}. */
interface TextReading {
  readonly options: ReadingOptions;
  readonly log: FileLog;
  readonly notes: string[];
  /** Whether the path is that of one file. Default: by its name. */
  readonly isFile?: boolean;
}

/** Files of a folder of texts, by their paths with `/` relative to the folder. */
interface TextFiles {
  readonly texts: readonly string[];
  /** Files of records: JSONL, CSV, TSV or Parquet. */
  readonly tables: readonly string[];
  /** Files that are neither text nor Markdown nor records. */
  readonly others: readonly string[];
  /** Hidden files and folders, linked folders, and folders of other people's files. */
  readonly hidden: readonly string[];
}

/** Lists the files of texts and of records of a folder and of all folders in it, sorted. */
export async function textFiles(folder: string): Promise<TextFiles> {
  const texts: string[] = [];
  const tables: string[] = [];
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
      else if (isRecordFile(path) && (entry.isFile() || entry.isSymbolicLink())) tables.push(path);
      else (entry.isFile() ? others : hidden).push(path);
    }
  };
  await visit('');
  for (const list of [texts, tables, others, hidden]) list.sort();
  return { texts, tables, others, hidden };
}

/**
 * Lists the tables of a folder that have a column of texts, and the other ones.
 *
 * @throws DataError for a damaged table
 */
async function textTables(
  folder: string,
  tables: readonly string[],
  options: ReadingOptions,
): Promise<{ read: string[]; others: string[] }> {
  const read: string[] = [];
  const others: string[] = [];
  for (const name of tables) ((await hasTexts(join(folder, name), options)) ? read : others).push(name);
  return { read, others };
}

/** Tells whether a folder holds texts, or tables with a column of texts. */
export async function holdsTexts(folder: string, options: ReadingOptions): Promise<boolean> {
  const { texts, tables } = await textFiles(folder);
  return texts.length > 0 || (await textTables(folder, tables, options)).read.length > 0;
}

/**
 * Streams the files of a folder: texts and Markdown, cut into passages, and tables with a column of texts. One text file is in memory
 * at a time. The id of a passage is the path of its file, `#`, and its number in the file, from 1; that of a record has its own id in
 * this place; that of a file that is read whole is its path. Files that are not UTF-8 count as bad rows; binary files are skipped.
 *
 * @param path  a folder, or one file
 * @param reading.notes  receives notes on what was read and skipped, when all passages have been taken
 * @throws DataError for a file that is not UTF-8, and where nothing is left
 */
export async function* streamTextFolder(
  path: string,
  { options, log, notes, isFile = isMarkdown(path) || TEXT.test(path) }: TextReading,
): AsyncGenerator<TextPassage, void> {
  const { texts, tables, others, hidden } = isFile
    ? { texts: [basename(path)], tables: [], others: [], hidden: [] }
    : await textFiles(path);
  const folder = isFile ? dirname(path) : path;
  const found = await textTables(folder, tables, options);
  // Beside tables, a README or a licence is about the data.
  const isAbout = (name: string) => found.read.length > 0 && !isOwnText(basename(name));
  const reading = { options, log, sizes: passageSizes(options) };
  const binary: string[] = [];
  const counts = { passages: 0, records: 0 };
  for (const name of texts) {
    if (isAbout(name)) continue;
    const passages = await passagesOf(folder, name, reading);
    if (passages) yield* passages;
    else binary.push(name);
    counts.passages += passages?.length ?? 0;
  }
  const columns = new ColumnChoice('documents', options.columns);
  for (const name of found.read) {
    for await (const text of tableTexts(join(folder, name), name, { columns, options, log })) {
      counts.records += 1;
      yield text;
    }
  }
  if (found.read.length > 0) columns.check(path);
  if (counts.passages + counts.records === 0) {
    const all = binary.length > 0 && binary.length === texts.length + found.read.length;
    throw new DataError(all ? 'holds no text: binary data' : 'holds no text', {
      file: path,
      help: all
        ? 'a text file is UTF-8 and has no byte 0; extract the text of other formats first'
        : 'text files (.txt), Markdown files (.md) and tables with a column of texts are read, in all folders inside',
    });
  }
  const own = texts.filter((name) => !isAbout(name));
  const { words } = reading.sizes;
  if (own.length > 0) {
    const files = filesText(own.length - binary.length);
    notes.push(
      options.wholeFiles
        ? `${files} of text, each read as one document`
        : `${counts.passages === 1 ? '1 passage' : `${count(counts.passages)} passages`} of at most ${words} words from ${files}`,
    );
  }
  if (found.read.length > 0)
    notes.push(
      `${counts.records === 1 ? '1 record' : `${count(counts.records)} records`} from ${filesText(found.read.length)}`,
    );
  notes.push(
    ...skipped('neither text nor Markdown nor a table', others),
    ...skipped('tables without a column of texts', found.others),
    ...skipped('about the data', texts.filter(isAbout)),
    ...skipped('binary', binary),
    ...skipped('hidden, links or other people’s', hidden),
  );
}

/** Reads a text file as passages, or whole; undefined for a binary file. */
async function passagesOf(
  folder: string,
  name: string,
  { options, log, sizes }: { options: ReadingOptions; log: FileLog; sizes: PassageSizes },
): Promise<TextPassage[] | undefined> {
  const file = join(folder, name);
  const text = await readText(file, name, { options, log });
  if (text === undefined) return undefined;
  if (options.wholeFiles) return text.trim() === '' ? [] : [{ id: name, text, file }];
  return (isMarkdown(name) ? markdownPassages : textPassages)(text, sizes).map(({ title, text }, i) => ({
    id: `${name}#${i + 1}`,
    title: title === '' ? undefined : title,
    text,
    file,
  }));
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

const filesText = (files: number): string => (files === 1 ? '1 file' : `${count(files)} files`);

const skipped = (what: string, names: readonly string[]): string[] => {
  if (names.length === 0) return [];
  const more = names.length > NAMED ? ', …' : '';
  return [`skipped ${filesText(names.length)} (${what}): ${names.slice(0, NAMED).join(', ')}${more}`];
};

/** Reads a whole text file with LF line ends; undefined for a binary file, and for one left out as a bad row. */
async function readText(
  file: string,
  name: string,
  { options, log }: { options: ReadingOptions; log: FileLog },
): Promise<string | undefined> {
  const bytes = await wholeFile(file, name, { options, log }).catch((error) => {
    if (!(error instanceof DataError)) throw error;
    attemptRow(options.badRows, () => {
      throw error;
    });
  });
  if (bytes === undefined) return '';
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

/** Reads a file of a folder. @throws DataError for one that is too long, or cannot be read; it names line 1, so that it is a bad row */
async function wholeFile(
  file: string,
  name: string,
  { options, log }: { options: ReadingOptions; log: FileLog },
): Promise<Buffer> {
  const { maxLineBytes = MAX_LINE_BYTES } = options;
  const onBytes = await log.watch(file, `document/${name}`);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const bytes of inflate(readBytes(file, onBytes), file, { foreign: 'pass' })) {
      size += bytes.length;
      if (size > maxLineBytes) break;
      chunks.push(bytes);
    }
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    const [reason] = cause.message.replace(`${file}: `, '').split('\n');
    throw new DataError(reason!, { file, line: 1, help: 'make the file readable, or remove it', cause });
  }
  if (size <= maxLineBytes) return Buffer.concat(chunks);
  throw new DataError(`the file is longer than ${count(maxLineBytes)} bytes`, {
    file,
    line: 1,
    help: 'split it into several files',
  });
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
