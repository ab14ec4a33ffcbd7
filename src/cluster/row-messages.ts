import { createHash } from 'node:crypto';
import { UndriftError } from '../util/errors.ts';
import type { EmbeddedRows, RowTokens } from './shard-keeper.ts';
import { isDimension } from './task.ts';

/** Names of the headers of a message. */
export const HEADERS = {
  /** Version that made the rows. */
  version: 'Undrift-Version',
  /** Id of the attempt at a block: its parts are stored together. */
  attempt: 'Undrift-Attempt',
  /** Number of the part, from 0 on. */
  part: 'Undrift-Part',
  /** Number of parts. */
  parts: 'Undrift-Parts',
  /** Embedding size D. */
  dimension: 'Undrift-Dimension',
  /** Type of the numbers: always `f32`. */
  dtype: 'Undrift-Dtype',
  /** SHA-256 of the body, in hexadecimal digits. */
  digest: 'Undrift-Sha256',
  /** Reason why a request is refused. */
  error: 'Undrift-Error',
} as const;

/** Bytes of the headers of a message, at most. */
export const HEADER_BYTES = 1024;

/** One message with embeddings: a part of a block. */
export interface ResultPart {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Embeddings of a part, and where it belongs. */
export interface DecodedPart extends EmbeddedRows {
  readonly attempt: string;
  readonly part: number;
  readonly parts: number;
  readonly dimension: number;
}

const digestOf = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex');

/** Bytes of one row besides its vector: number and mark. */
const ROW_BYTES = 4 + 8;

/**
 * Divides the embeddings of a block into messages.
 *
 * @param attempt  id of this attempt at the block
 * @param mostBytes  most bytes of a message with its headers
 * @throws UndriftError if one row does not fit a message
 */
export function encodeResults(results: EmbeddedRows, attempt: string, mostBytes: number): ResultPart[] {
  const { version, rows, marks, vectors } = results;
  const D = vectors.length / Math.max(1, rows.length);
  const most = Math.floor((mostBytes - HEADER_BYTES) / (ROW_BYTES + 4 * D));
  if (most < 1) {
    throw new UndriftError(`a vector of ${D} numbers does not fit a message of ${mostBytes} bytes`, {
      help: 'raise max_payload in the configuration of nats-server',
    });
  }
  const parts = Math.max(1, Math.ceil(rows.length / most));
  return Array.from({ length: parts }, (_, part) => {
    const [start, end] = [part * most, Math.min(rows.length, (part + 1) * most)];
    const body = joined([rows.slice(start, end), marks.slice(start, end), vectors.slice(start * D, end * D)]);
    return {
      headers: {
        [HEADERS.version]: version,
        [HEADERS.attempt]: attempt,
        [HEADERS.part]: String(part),
        [HEADERS.parts]: String(parts),
        [HEADERS.dimension]: String(D),
        [HEADERS.dtype]: 'f32',
        [HEADERS.digest]: digestOf(body),
      },
      body,
    };
  });
}

/**
 * Reads a message that {@link encodeResults} has made, and checks its digest and its size.
 *
 * @param header  looks up a header; empty if it is missing
 * @throws UndriftError that says what is wrong
 */
export function decodeResults(header: (name: string) => string, body: Uint8Array): DecodedPart {
  const dimension = Number(header(HEADERS.dimension));
  const part = Number(header(HEADERS.part));
  const parts = Number(header(HEADERS.parts));
  const [version, attempt] = [header(HEADERS.version), header(HEADERS.attempt)];
  if (version === '' || attempt === '' || !isDimension(dimension)) throw wrong('a header is missing');
  if (header(HEADERS.dtype) !== 'f32')
    throw wrong(`numbers of type '${header(HEADERS.dtype)}', expected f32`);
  if (!(Number.isInteger(part) && part >= 0 && part < parts && parts <= 65_536))
    throw wrong(`part ${header(HEADERS.part)} of ${header(HEADERS.parts)}`);
  if (digestOf(body) !== header(HEADERS.digest)) throw wrong('its digest is another than that of its header');
  const rows = body.length / (ROW_BYTES + 4 * dimension);
  if (!Number.isInteger(rows)) throw wrong(`${body.length} bytes are no whole rows of ${dimension} numbers`);
  // A copy of its own, since the arrays need an aligned start.
  const bytes = Uint8Array.from(body).buffer;
  const vectors = new Float32Array(bytes.slice(rows * ROW_BYTES));
  if (!vectors.every(Number.isFinite)) throw wrong('a number is not finite');
  return {
    ...{ version, attempt, part, parts, dimension, vectors },
    rows: new Uint32Array(bytes.slice(0, rows * 4)),
    marks: new BigUint64Array(bytes.slice(rows * 4, rows * ROW_BYTES)),
  };
}

const wrong = (what: string) => new UndriftError(`a result is damaged: ${what}`);

/** Bytes before the arrays: number of rows, number of tokens, bytes of a token. */
const TOKENS_HEAD = 12;

/** Formats the tokens of rows. */
export function encodeTokens({ rows, lengths, tokens, marks }: RowTokens): Uint8Array {
  const head = Uint32Array.of(rows.length, tokens.length, tokens.BYTES_PER_ELEMENT);
  return joined([head, rows, lengths, marks, tokens]);
}

/**
 * Reads tokens that {@link encodeTokens} has formatted.
 *
 * @throws UndriftError if they are damaged
 */
export function decodeTokens(body: Uint8Array): RowTokens {
  const bytes = Uint8Array.from(body).buffer;
  if (bytes.byteLength < TOKENS_HEAD) throw damagedTokens();
  const [rows = 0, tokens = 0, width = 0] = new Uint32Array(bytes, 0, 3);
  const expected = TOKENS_HEAD + rows * (4 + 4 + 8) + tokens * width;
  if (bytes.byteLength !== expected || (width !== 2 && width !== 4)) throw damagedTokens();
  let at = TOKENS_HEAD;
  const next = (size: number) => {
    at += size;
    return bytes.slice(at - size, at);
  };
  const read = {
    rows: new Uint32Array(next(rows * 4)),
    lengths: new Int32Array(next(rows * 4)),
    marks: new BigUint64Array(next(rows * 8)),
    tokens: width === 2 ? new Uint16Array(next(tokens * 2)) : new Int32Array(next(tokens * 4)),
  };
  const sum = read.lengths.reduce((total, length) => total + length, 0);
  if (sum !== tokens || read.lengths.some((length) => length < 0)) throw damagedTokens();
  return read;
}

const damagedTokens = () => new UndriftError('the tokens that the owner of a shard has sent are damaged');

/** Joins arrays to one, byte by byte. */
function joined(arrays: readonly ArrayBufferView[]): Uint8Array {
  const out = new Uint8Array(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    out.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  return out;
}
