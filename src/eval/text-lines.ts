import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError, UndriftError } from '../util/errors.ts';

/** Longer lines than any run or judgement: a file without line ends is not read into memory whole. */
const MAX_LINE_BYTES = 1 << 20;

/** What C's `isspace` and hence trec_eval takes for a separator; other Unicode spaces may be part of an id. */
const FIELD = /[^ \t\v\f\r]+/g;

export interface FieldsLine {
  readonly fields: readonly string[];
  /** 1-based. */
  readonly line: number;
}

/**
 * The whitespace-separated fields of each line of a UTF-8 text file (`.gz` is unpacked), read as a stream.
 *
 * Blank lines and, as in trec_eval 10, lines that begin with `#` are left out.
 *
 * @throws DataError where the file cannot be read, is not UTF-8, holds a NUL or a line of over a megabyte.
 */
export async function* readFields(file: string): AsyncGenerator<FieldsLine> {
  let line = 0;
  for await (const rows of readRows(file)) {
    for (const row of rows) {
      line++;
      if (row.startsWith('#')) continue;
      if (row.includes('\0')) throw new DataError('a NUL byte: this is no text file', { file, line });
      const fields = row.match(FIELD);
      if (fields !== null) yield { fields, line };
    }
  }
}

/** The lines of the file, many at a time. */
async function* readRows(file: string): AsyncGenerator<string[]> {
  let rest: Buffer = Buffer.alloc(0);
  let linesBefore = 0;
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (bytes: Buffer): string[] => {
    let text: string;
    try {
      text = decoder.decode(bytes);
    } catch (cause) {
      const line = linesBefore + firstBadLine(bytes);
      throw new DataError('not UTF-8 text', {
        file,
        line,
        help: 'convert it, for example with iconv',
        cause,
      });
    }
    const rows = text.split('\n');
    // A byte order mark, as some editors put before the first line, is no part of an id.
    if (linesBefore === 0 && text.startsWith('\ufeff')) rows[0] = rows[0]!.slice(1);
    linesBefore += rows.length;
    return rows;
  };
  try {
    for await (const chunk of open(file)) {
      const bytes = Buffer.concat([rest, chunk as Buffer]);
      const end = bytes.lastIndexOf(0x0a);
      if (end >= 0) yield decode(bytes.subarray(0, end));
      rest = bytes.subarray(end + 1);
      if (rest.length > MAX_LINE_BYTES) {
        throw new DataError(`a line of more than ${MAX_LINE_BYTES} bytes`, { file, line: linesBefore + 1 });
      }
    }
  } catch (error) {
    if (error instanceof UndriftError) throw error;
    throw new DataError(`cannot be read: ${(error as Error).message}`, { file, cause: error });
  }
  if (rest.length > 0) yield decode(rest);
}

function open(file: string): Readable {
  const source = createReadStream(file);
  // The callback is there so that a failure reaches the reader of the last stream and nobody else.
  return file.endsWith('.gz') ? pipeline(source, createGunzip(), () => {}) : source;
}

function firstBadLine(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; start <= bytes.length; line++) {
    const end = bytes.indexOf(0x0a, start);
    const row = bytes.subarray(start, end < 0 ? bytes.length : end);
    if (!isUtf8(row) || end < 0) break;
    start = end + 1;
  }
  return line;
}
