/**
 * Reader and writer of the protobuf wire format, as far as ONNX and TensorBoard files need it.
 *
 * A message is a list of fields. A field is the varint `number << 3 | type`, followed by a payload: a varint
 * for type 0, eight bytes for type 1, a length and that many bytes for type 2, four bytes for type 5.
 * (https://protobuf.dev/programming-guides/encoding)
 */
import { DataError, UndriftError } from '../util/errors.ts';

/** Code of each wire type. */
export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Smallest payload, in bytes, that is kept by reference instead of being copied before `finish`. */
const referenceBytes = 4096;
const two32 = 2 ** 32;
const utf8 = new TextEncoder();

/**
 * Writer of one protobuf message. Fields appear in the order of the calls, so equal calls give equal bytes.
 *
 * Small fields are collected in a growing buffer. Large payloads (weights) are kept by reference, so that a
 * message of hundreds of megabytes is copied once, into its final place. The caller must not change a payload
 * before `finish`.
 */
export class WireWriter {
  /** Finished pieces, in order. The unfinished piece is `tail[0, tailLength)`. */
  private readonly pieces: Uint8Array[] = [];
  private piecesBytes = 0;
  private tail = new Uint8Array(64);
  private tailLength = 0;

  /** Number of bytes written so far. */
  get length(): number {
    return this.piecesBytes + this.tailLength;
  }

  /**
   * Writes an integer as a 64-bit two's complement varint. Integers beyond 64 bits are saturated.
   *
   * @throws UndriftError if `value` is not an integer.
   */
  varint(field: number, value: number): void {
    this.tag(field, wireType.varint);
    this.rawVarint(value);
  }

  /** Writes a 32-bit float. */
  float(field: number, value: number): void {
    this.tag(field, wireType.fixed32);
    this.reserve(4);
    new DataView(this.tail.buffer).setFloat32(this.tailLength, value, true);
    this.tailLength += 4;
  }

  /** Writes a 64-bit float. */
  double(field: number, value: number): void {
    this.tag(field, wireType.fixed64);
    this.reserve(8);
    new DataView(this.tail.buffer).setFloat64(this.tailLength, value, true);
    this.tailLength += 8;
  }

  /** Writes raw bytes. */
  bytes(field: number, value: ArrayBufferView): void {
    this.tag(field, wireType.bytes);
    this.rawVarint(value.byteLength);
    this.append(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }

  /** Writes text as UTF-8. */
  string(field: number, value: string): void {
    this.bytes(field, utf8.encode(value));
  }

  /** Writes a nested message, whose fields `write` adds. */
  message(field: number, write: (inner: WireWriter) => void): void {
    const inner = new WireWriter();
    write(inner);
    this.tag(field, wireType.bytes);
    this.rawVarint(inner.length);
    for (const piece of inner.pieces) this.append(piece);
    this.append(inner.tail.subarray(0, inner.tailLength));
  }

  /** Returns the finished message in one new array. */
  finish(): Uint8Array {
    const message = new Uint8Array(this.length);
    let position = 0;
    for (const piece of this.pieces) {
      message.set(piece, position);
      position += piece.byteLength;
    }
    message.set(this.tail.subarray(0, this.tailLength), position);
    return message;
  }

  private tag(field: number, type: number): void {
    this.rawVarint(field * 8 + type);
  }

  private rawVarint(value: number): void {
    if (!Number.isInteger(value)) throw new UndriftError(`cannot write ${value} as an integer`);
    this.reserve(10);
    let low = value >>> 0;
    let high = Math.floor(value / two32) >>> 0;
    if (value >= 2 ** 63) [low, high] = [0xffffffff, 0x7fffffff];
    else if (value < -(2 ** 63)) [low, high] = [0, 0x80000000];
    while (high !== 0 || low > 127) {
      this.tail[this.tailLength++] = (low & 127) | 128;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.tail[this.tailLength++] = low;
  }

  private append(bytes: Uint8Array): void {
    if (bytes.byteLength >= referenceBytes) {
      if (this.tailLength > 0) {
        this.pieces.push(this.tail.subarray(0, this.tailLength));
        this.piecesBytes += this.tailLength;
        this.tail = new Uint8Array(64);
        this.tailLength = 0;
      }
      this.pieces.push(bytes);
      this.piecesBytes += bytes.byteLength;
    } else {
      this.reserve(bytes.byteLength);
      this.tail.set(bytes, this.tailLength);
      this.tailLength += bytes.byteLength;
    }
  }

  private reserve(bytes: number): void {
    const needed = this.tailLength + bytes;
    if (needed <= this.tail.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.tail.byteLength));
    grown.set(this.tail.subarray(0, this.tailLength));
    this.tail = grown;
  }
}

/**
 * Limit on nested messages, which keeps hostile bytes from exhausting the stack. Official protobuf readers
 * have one too.
 */
const maximumDepth = 100;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reader of one protobuf message, field by field: `while (reader.next()) switch (reader.field) { case 1: name
 * = reader.string(); break; default: reader.skip(); }`
 *
 * Every length is checked against the bytes that remain before anything is allocated. Every fault is a
 * `DataError` that names the file and the byte.
 */
export class WireReader {
  /** Number of the current field, set by `next`. */
  field = 0;
  /** Wire type of the current field, set by `next`. */
  type = 0;
  private readonly data: Uint8Array;
  private readonly view: DataView;
  private readonly file: string;
  private readonly depth: number;
  private readonly end: number;
  private position: number;

  constructor(data: Uint8Array, file: string, start = 0, end = data.byteLength, depth = 0) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.file = file;
    this.position = start;
    this.end = end;
    this.depth = depth;
    if (depth > maximumDepth) throw this.error(`messages are nested more than ${maximumDepth} deep`);
  }

  /** Moves to the next field. Returns false at the end of the message. */
  next(): boolean {
    if (this.position >= this.end) return false;
    const tag = this.rawVarint();
    this.field = Math.floor(tag / 8);
    this.type = tag % 8;
    if (tag < 8 || tag >= two32) throw this.error(`${tag} is no field tag`);
    return true;
  }

  /** Reads the integer of a varint field (64-bit two's complement; exact up to 2^53). */
  varint(): number {
    this.expect(wireType.varint);
    return this.rawVarint();
  }

  /** Reads a 32-bit float field. */
  float(): number {
    this.expect(wireType.fixed32);
    return this.view.getFloat32(this.take(4), true);
  }

  /** Reads a 64-bit float field. */
  double(): number {
    this.expect(wireType.fixed64);
    return this.view.getFloat64(this.take(8), true);
  }

  /** Reads the bytes of a length-delimited field, as a view. */
  bytes(): Uint8Array {
    const [start, end] = this.delimited();
    return this.data.subarray(start, end);
  }

  /** Reads the text of a length-delimited field. */
  string(): string {
    const bytes = this.bytes();
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw this.error(`field ${this.field} is not UTF-8 text`);
    }
  }

  /** Returns a reader for the nested message of a length-delimited field. */
  message(): WireReader {
    const [start, end] = this.delimited();
    return new WireReader(this.data, this.file, start, end, this.depth + 1);
  }

  /** Appends the integers of a repeated field, packed or not, to `out`. */
  varints(out: number[]): void {
    if (this.type === wireType.varint) {
      out.push(this.rawVarint());
      return;
    }
    const packed = this.message();
    while (packed.position < packed.end) out.push(packed.rawVarint());
  }

  /** Appends the 32-bit floats of a repeated field, packed or not, to `out`. */
  floats(out: number[]): void {
    if (this.type === wireType.fixed32) {
      out.push(this.float());
      return;
    }
    const packed = this.message();
    while (packed.position < packed.end) out.push(packed.view.getFloat32(packed.take(4), true));
  }

  /** Appends the 64-bit floats of a repeated field, packed or not, to `out`. */
  doubles(out: number[]): void {
    if (this.type === wireType.fixed64) {
      out.push(this.double());
      return;
    }
    const packed = this.message();
    while (packed.position < packed.end) out.push(packed.view.getFloat64(packed.take(8), true));
  }

  /** Appends the integers of a repeated field, packed or not, to `out` with all 64 bits. */
  bigints(out: bigint[]): void {
    const read = (reader: WireReader) => {
      reader.rawVarint();
      out.push((BigInt(reader.high | 0) << 32n) | BigInt(reader.low));
    };
    if (this.type === wireType.varint) {
      read(this);
      return;
    }
    const packed = this.message();
    while (packed.position < packed.end) read(packed);
  }

  /** Skips the current field. */
  skip(): void {
    if (this.type === wireType.varint) this.rawVarint();
    else if (this.type === wireType.fixed64) this.take(8);
    else if (this.type === wireType.bytes) this.delimited();
    else if (this.type === wireType.fixed32) this.take(4);
    else throw this.error(`field ${this.field} has the unknown wire type ${this.type}`);
  }

  /** Makes an error that names the file and the current byte. */
  error(message: string): DataError {
    return new DataError(`${message} (near byte ${this.position})`, { file: this.file });
  }

  /** Lower half of the last varint's 64 bits, unsigned; `high` is the upper half. */
  private low = 0;
  private high = 0;

  private rawVarint(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.data[this.take(1)]!;
      const bits = byte & 127;
      if (shift < 32) low |= bits << shift;
      if (shift > 28) high |= bits << (shift - 32);
      else if (shift === 28) high |= bits >>> 4;
      if (byte < 128) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return (high | 0) * two32 + this.low;
      }
    }
    throw this.error('a variable-length integer has more than 10 bytes');
  }

  private delimited(): [start: number, end: number] {
    this.expect(wireType.bytes);
    const length = this.rawVarint();
    const start = this.take(length);
    return [start, start + length];
  }

  /** Advances by `bytes` bytes and returns the position before them. */
  private take(bytes: number): number {
    const start = this.position;
    if (bytes < 0 || bytes > this.end - start) {
      throw this.error(`the data ends too early: ${bytes} bytes expected, ${this.end - start} left`);
    }
    this.position = start + bytes;
    return start;
  }

  private expect(type: number): void {
    if (this.type !== type) {
      throw this.error(`field ${this.field} has wire type ${this.type}, expected ${type}`);
    }
  }
}
