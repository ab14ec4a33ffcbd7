import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { count } from '../util/format.ts';

/** Settings of `readLines`. */
export interface LineOptions {
  /** Longest line accepted, in bytes without its line end. Default 64 MiB. */
  maxLineBytes?: number | undefined;
  /** Called with the bytes as stored on disk (still compressed), in order: for checksums and progress bars. */
  onBytes?: ((bytes: Uint8Array) => void) | undefined;
  /** Called with the error of a line that cannot be read, which is then left out. Default: the error is thrown. */
  onBadLine?: ((error: unknown) => void) | undefined;
}

/** Line of a text file. */
export interface Line {
  /** Text without its line end. */
  readonly text: string;
  /** Line number, from 1. */
  readonly line: number;
}

/** Default of `maxLineBytes`. */
export const MAX_LINE_BYTES = 64 * 2 ** 20;
const READ_BYTES = 2 ** 18;
/** Largest growth of gzip data that is unpacked. Text grows two to twenty times, a bomb a thousand times. */
const MOST_GROWTH = 200;
/** Number of unpacked bytes from which on the growth is limited. */
const FREE_BYTES = 2 ** 25;
/** Most blank lines in a row. */
const MOST_BLANK_LINES = 1_000_000;
const LF = 0x0a;
const CR = 0x0d;

/** First bytes of files that are often given by mistake, with advice for each. */
const FOREIGN_FORMATS: readonly { name: string; magic: readonly number[]; help: string }[] = [
  {
    name: 'UTF-16 text',
    magic: [0xff, 0xfe],
    help: 'save it as UTF-8, for example with iconv -f UTF-16 -t UTF-8',
  },
  {
    name: 'UTF-16 text',
    magic: [0xfe, 0xff],
    help: 'save it as UTF-8, for example with iconv -f UTF-16 -t UTF-8',
  },
  {
    name: 'a zip archive',
    magic: [0x50, 0x4b, 0x03, 0x04],
    help: 'unpack it first; .gz files are read as they are',
  },
  {
    name: 'a zstd file',
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    help: 'unpack it first; .gz files are read as they are',
  },
  {
    name: 'a bzip2 file',
    magic: [0x42, 0x5a, 0x68],
    help: 'unpack it first; .gz files are read as they are',
  },
  {
    name: 'an xz file',
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a],
    help: 'unpack it first; .gz files are read as they are',
  },
  { name: 'a Parquet file', magic: [0x50, 0x41, 0x52, 0x31], help: 'a text file is wanted here' },
];

/**
 * Streams the lines of a text file, plain or gzip (recognised by its first bytes, not by its name).
 *
 * The text is strict UTF-8. A byte order mark is skipped, LF and CRLF both end a line, and the last line may
 * lack its end. Memory is bounded by the longest line.
 *
 * @throws DataError for a missing or unreadable file, a damaged or truncated gzip stream, one that grows more than
 *   200 times (beyond 32 MiB), bytes that are not UTF-8, a line of more than `maxLineBytes`, and more than a million blank
 *   lines in a row
 */
export async function* readLines(file: string, options: LineOptions = {}): AsyncGenerator<Line> {
  yield* splitLines(
    inflate(readBytes(file, options.onBytes), file),
    file,
    options.maxLineBytes,
    options.onBadLine,
  );
}

/** Streams the bytes of a file as stored on disk, in blocks. */
export async function* readBytes(file: string, onBytes?: LineOptions['onBytes']): AsyncGenerator<Buffer> {
  try {
    for await (const bytes of createReadStream(file, { highWaterMark: READ_BYTES })) {
      onBytes?.(bytes as Buffer);
      yield bytes as Buffer;
    }
  } catch (error) {
    throw fileError(error, file, 'read');
  }
}

/**
 * Passes plain bytes through and unpacks gzip.
 *
 * @param options.foreign  treatment of other formats that are often given by mistake: refuse them (default), or pass their bytes through
 */
export async function* inflate(
  source: AsyncIterable<Buffer>,
  file: string,
  { foreign: treatment = 'refuse' }: { foreign?: 'refuse' | 'pass' } = {},
): AsyncGenerator<Buffer> {
  // The first bytes may arrive in pieces: collect enough of them to recognise a format.
  const chunks = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 5) {
    const next = await chunks.next();
    if (next.done) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  const foreign = FOREIGN_FORMATS.find(({ magic }) => magic.every((byte, i) => head[i] === byte));
  if (foreign !== undefined && treatment === 'refuse') {
    await chunks.return?.();
    throw new DataError(`is ${foreign.name}`, { file, help: foreign.help });
  }

  const whole = resume(head, chunks);
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    yield* whole;
    return;
  }
  let unpacked = 0;
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // `pipeline` passes an error of either side to the reader below, and closes the file when the reader stops
  // early.
  pipeline(Readable.from(whole, { objectMode: false, highWaterMark: READ_BYTES }), gunzip, () => {});
  try {
    for await (const bytes of gunzip) {
      unpacked += (bytes as Buffer).length;
      const packed = gunzip.bytesWritten;
      if (unpacked > FREE_BYTES && unpacked > MOST_GROWTH * packed) {
        throw new DataError(
          `the gzip data grows to more than ${MOST_GROWTH} times its size (${count(unpacked)} bytes from ${count(packed)}): no text does`,
          { file, help: 'if the file is meant to be so, unpack it first' },
        );
      }
      yield bytes as Buffer;
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'Z_BUF_ERROR') {
      throw new DataError('the gzip data ends too early', {
        file,
        help: 'the file was cut short: fetch or write it again',
        cause: error,
      });
    }
    if (code?.startsWith('Z_')) throw new DataError(`damaged gzip data (${message})`, { file, cause: error });
    throw fileError(error, file, 'read');
  }
}

async function* resume(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (head.length > 0) yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** Tells whether a line holds nothing but spaces and control characters. */
function isBlank(block: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (block[i]! > 0x20) return false;
  return true;
}

function rethrow(error: unknown): void {
  throw error;
}

/** Splits bytes into lines of strict UTF-8. */
export async function* splitLines(
  source: AsyncIterable<Buffer>,
  file: string,
  maxLineBytes = MAX_LINE_BYTES,
  onBadLine: (error: unknown) => void = rethrow,
): AsyncGenerator<Line> {
  let line = 0;
  let atStart = true;
  let blank = 0;
  // An incomplete line is kept in pieces and joined once, since joining at every block would be quadratic in
  // its length.
  let pieces: Buffer[] = [];
  let pendingBytes = 0;

  const tooLong = () =>
    new DataError(`the line is longer than ${count(maxLineBytes)} bytes`, {
      file,
      line: line + 1,
      help: 'is the file one record a line? A larger limit can be set with maxLineBytes',
    });
  const join = (bytes: Buffer): Buffer => {
    const joined = pieces.length === 0 ? bytes : Buffer.concat([...pieces, bytes]);
    pieces = [];
    pendingBytes = 0;
    if (!atStart) return joined;
    atStart = false;
    return joined[0] === 0xef && joined[1] === 0xbb && joined[2] === 0xbf ? joined.subarray(3) : joined;
  };
  function* cut(block: Buffer): Generator<Line> {
    // No UTF-8 character contains the byte of a line end, so a block of whole lines is valid exactly if each
    // line is.
    const valid = isUtf8(block);
    for (let start = 0; start < block.length; ) {
      let end = block.indexOf(LF, start);
      if (end === -1) end = block.length;
      const last = end > start && block[end - 1] === CR ? end - 1 : end;
      if (last - start > maxLineBytes) throw tooLong();
      line++;
      blank = isBlank(block, start, last) ? blank + 1 : 0;
      if (blank > MOST_BLANK_LINES) {
        throw new DataError(`more than ${count(MOST_BLANK_LINES)} lines in a row are blank`, {
          file,
          line,
          help: 'is the file damaged? Remove the blank lines if it is not',
        });
      }
      if (!valid && !isUtf8(block.subarray(start, last))) {
        const help = 'save it as UTF-8, for example with iconv -f LATIN1 -t UTF-8';
        onBadLine(new DataError('not UTF-8', { file, line, help }));
      } else {
        yield { text: block.toString('utf8', start, last), line };
      }
      start = end + 1;
    }
  }

  for await (const bytes of source) {
    const end = bytes.lastIndexOf(LF) + 1;
    if (end > 0) yield* cut(join(bytes.subarray(0, end)));
    if (end < bytes.length) {
      pieces.push(bytes.subarray(end));
      pendingBytes += bytes.length - end;
      if (pendingBytes > maxLineBytes + 4) throw tooLong();
    }
  }
  if (pendingBytes > 0) yield* cut(join(Buffer.alloc(0)));
}
