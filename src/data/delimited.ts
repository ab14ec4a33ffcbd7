import { DataError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { isColumnName } from './columns.ts';
import { quote } from './corpus.ts';
import { type Line, type LineOptions, MAX_LINE_BYTES, readLines } from './lines.ts';
import type { FileRecord } from './record.ts';

/** Matches names of files of delimited text: `.csv`, `.tsv`, each plain or gzip. */
export const DELIMITED_FILE = /\.(csv|tsv)(\.gz)?$/i;

/** Delimiters that are tried on the header, after that of the extension. */
const DELIMITERS = [',', '\t', ';', '|'];
/** First line that spreadsheets write to name the delimiter. */
const SEPARATOR_LINE = /^sep=(.)$/i;

/** Settings of {@link readDelimited}. */
export interface DelimitedOptions extends LineOptions {
  /** Names of columns to keep as they are written in the header. */
  chosen?: readonly string[] | undefined;
}

/**
 * Streams the rows of a CSV or TSV file, plain or gzip, as records of texts.
 *
 * Quoting is that of RFC 4180: a quoted field may hold delimiters, line ends (read as LF) and doubled quotes. The first row names the
 * columns. A name is recognised in any case and with spaces (`Query Text` is `query_text`). The delimiter is that of the extension, or
 * the one of comma, tab, semicolon and bar that the header has instead. An empty field counts as absent. Rows without any value
 * are skipped.
 *
 * @throws DataError with file and line for a row with more or fewer fields than the header, a quote that is never closed, text
 *   after a closing quote, and for everything that `readLines` refuses
 */
export async function* readDelimited(
  file: string,
  { chosen = [], ...options }: DelimitedOptions = {},
): AsyncGenerator<FileRecord> {
  let names: readonly string[] | undefined;
  let delimiter = isTsv(file) ? '\t' : ',';
  const rows = new Rows(file, options);
  for await (const line of readLines(file, { ...options, onBadLine: rows.badLine(options.onBadLine) })) {
    if (names === undefined && !rows.isOpen) {
      const [, named] = SEPARATOR_LINE.exec(line.text) ?? [];
      if (named !== undefined && rows.size === 0) {
        delimiter = named;
        continue;
      }
      delimiter = delimiterOf(line.text, delimiter);
    }
    const row = rows.push(line, delimiter);
    if (row === undefined || row.cells.every((cell) => cell === '')) continue;
    if (names === undefined) {
      names = headerOf(row, file, chosen);
      continue;
    }
    const extra = row.cells.slice(names.length).filter((cell) => cell !== '').length;
    if (row.cells.length < names.length || extra > 0) {
      const error = widthError(row, names.length, file, delimiter);
      if (!options.onBadLine) throw error;
      options.onBadLine(error);
      continue;
    }
    const fields: Record<string, unknown> = {};
    for (const [i, name] of names.entries()) if (name !== '') fields[name] = row.cells[i] || null;
    yield { fields, file, line: row.line };
  }
  rows.end();
}

interface Row {
  readonly cells: readonly string[];
  /** Line on which the row begins. */
  readonly line: number;
}

/** Joins lines to rows, which end where no quote is open. */
class Rows {
  /** Number of rows so far. */
  size = 0;
  readonly #file: string;
  readonly #options: LineOptions;
  #cells: string[] = [];
  /** Text of the field whose quote is open. */
  #open: string | undefined;
  #openLine = 0;
  #firstLine = 0;
  #bytes = 0;
  #isBad = false;

  constructor(file: string, options: LineOptions) {
    this.#file = file;
    this.#options = options;
  }

  /** Tells whether the last line ended within quotes. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** Returns the callback for lines that are not UTF-8: the row that such a line belongs to is left out with it. */
  badLine(onBadLine: LineOptions['onBadLine']): LineOptions['onBadLine'] {
    return (
      onBadLine &&
      ((error) => {
        onBadLine(error);
        if (this.isOpen) this.#isBad = true;
      })
    );
  }

  /** Adds a line. Returns the row that it completes; undefined for a row that goes on, or is bad and reported. */
  push({ text, line }: Line, delimiter: string): Row | undefined {
    if (!this.isOpen) {
      this.#cells = [];
      this.#firstLine = line;
      this.#bytes = 0;
      this.#isBad = false;
    }
    this.#bytes += text.length;
    const { maxLineBytes = MAX_LINE_BYTES } = this.#options;
    if (this.#bytes > maxLineBytes) throw this.#unclosed(`within ${count(maxLineBytes)} bytes`);
    try {
      this.#parse(text, line, delimiter);
    } catch (error) {
      if (!this.#options.onBadLine) throw error;
      this.#options.onBadLine(error);
      this.#isBad = true;
      this.#open = undefined;
    }
    if (this.isOpen) return undefined;
    this.size++;
    return this.#isBad ? undefined : { cells: this.#cells, line: this.#firstLine };
  }

  /** @throws DataError where the file ended within quotes */
  end(): void {
    if (this.isOpen) throw this.#unclosed('in the file');
  }

  #unclosed(where: string): DataError {
    return new DataError(`the quote that opens here is not closed ${where}`, {
      file: this.#file,
      line: this.#openLine,
      help: 'close it, or write a field with a quote in it as "… ""word"" …": quoted, and its quotes doubled',
    });
  }

  #parse(text: string, line: number, delimiter: string): void {
    if (!this.isOpen && !text.includes('"')) {
      this.#cells.push(...text.split(delimiter));
      return;
    }
    let i = 0;
    while (i <= text.length) {
      if (this.#open === undefined) {
        const quoteAt = startsQuoted(text, i, delimiter);
        if (quoteAt === undefined) {
          const end = text.indexOf(delimiter, i);
          this.#cells.push(text.slice(i, end === -1 ? undefined : end));
          if (end === -1) return;
          i = end + delimiter.length;
          continue;
        }
        this.#open = '';
        this.#openLine = line;
        i = quoteAt + 1;
      }
      const end = text.indexOf('"', i);
      if (end === -1) {
        this.#open += `${text.slice(i)}\n`;
        return;
      }
      this.#open += text.slice(i, end);
      i = end + 1;
      if (text[i] === '"') {
        this.#open += '"';
        i++;
        continue;
      }
      const rest = /^[ ]*/.exec(text.slice(i))![0].length;
      if (i + rest !== text.length && !text.startsWith(delimiter, i + rest)) {
        throw new DataError(
          `text after the closing quote of field ${this.#cells.length + 1}: ${quote(text.slice(i))}`,
          {
            file: this.#file,
            line,
            help: 'write a field with a quote in it as "… ""word"" …": quoted, and its quotes doubled',
          },
        );
      }
      this.#cells.push(this.#open);
      this.#open = undefined;
      if (i + rest === text.length) return;
      i += rest + delimiter.length;
    }
  }
}

/** Position of the quote that opens a field; undefined for a field without quotes. Spaces before a quote are no text. */
function startsQuoted(text: string, start: number, delimiter: string): number | undefined {
  let i = start;
  while (delimiter !== '\t' && text[i] === ' ') i++;
  return text[i] === '"' ? i : undefined;
}

/** Delimiter of a header: the expected one, or the first other that it has outside quotes. */
function delimiterOf(header: string, expected: string): string {
  const bare = header.replace(/"[^"]*"/g, '');
  if (bare.includes(expected)) return expected;
  return DELIMITERS.find((each) => bare.includes(each)) ?? expected;
}

/** Name of a column as it is recognised: without surrounding space, and a known name in its usual spelling. */
function columnName(cell: string, chosen: readonly string[]): string {
  const name = cell.trim();
  if (chosen.includes(name) || isColumnName(name)) return name;
  const plain = name.toLowerCase().replace(/\s+/g, '_');
  return isColumnName(plain) ? plain : name;
}

/** Names of the columns; empty for a column without a name, which is not read. @throws DataError for a name that occurs twice */
function headerOf({ cells, line }: Row, file: string, chosen: readonly string[]): string[] {
  const names = cells.map((cell) => columnName(cell, chosen));
  const twice = names.find((name, i) => name !== '' && names.indexOf(name) !== i);
  if (twice === undefined) return names;
  throw new DataError(`two columns are called ${quote(twice)}`, { file, line, help: 'rename one of them' });
}

const isTsv = (file: string): boolean => /\.tsv(\.gz)?$/i.test(file);

/**
 * Tells whether a file is a TSV file without a header, like those of MS MARCO: its first line names no known column and none of
 * the chosen ones. CSV files always have a header.
 */
export async function lacksHeader(file: string, chosen: readonly string[] = []): Promise<boolean> {
  if (!isTsv(file)) return false;
  for await (const { text } of readLines(file, { onBadLine: () => {} })) {
    const names = text.split('\t').map((cell) => columnName(cell.replace(/^"(.*)"$/, '$1'), chosen));
    return !names.some((name) => isColumnName(name) || chosen.includes(name));
  }
  return false;
}

function widthError({ cells, line }: Row, wanted: number, file: string, delimiter: string): DataError {
  const named = DELIMITER_NAMES[delimiter] ?? `a ${quote(delimiter)}`;
  const has = `${cells.length} field${cells.length === 1 ? '' : 's'}`;
  return new DataError(`${has} where the header has ${wanted}: ${quote(cells.join(delimiter))}`, {
    file,
    line,
    help: `fields are separated by ${named}; write a field that has one in it, or a line end, within quotes`,
  });
}

const DELIMITER_NAMES: Readonly<Record<string, string>> = {
  ',': 'a comma',
  '\t': 'a tab',
  ';': 'a semicolon',
  '|': 'a bar',
};
