import { UndriftError } from '../util/errors.ts';
import type { SpillFile } from '../util/spill-file.ts';

/**
 * Size of a chunk. Strings never span two chunks, so chunk number and offset fit into one float64: `chunk ·
 * 2^24 + offset`.
 */
const CHUNK_BYTES = 2 ** 24;
const FIRST_CHUNK_BYTES = 2 ** 16;
const FIRST_ROWS = 1024;

/** Bytes of several strings in memory, or their place in the spill file. */
type Chunk = Buffer | number;

/**
 * Append-only list of strings, stored as UTF-8 bytes in a few large buffers outside the JavaScript heap.
 * Takes 12 bytes a row in addition to the text, or 24 with the optional hash index that finds a row by its
 * string. With a spill file the bytes of the text lie in that file, except for those of the last buffer.
 *
 * A half surrogate pair has no UTF-8 form and is stored as U+FFFD.
 */
export class StringTable {
  #chunks: Chunk[] = [];
  readonly #spill: SpillFile | undefined;
  /** Bytes used in the last chunk. */
  #tail = 0;
  #size = 0;
  #addresses = new Float64Array(FIRST_ROWS);
  #lengths = new Uint32Array(FIRST_ROWS);
  /** Hash table with open addressing: slot → row + 1, or 0 if free. */
  #slots: Int32Array | undefined;
  #hashes: Uint32Array | undefined;

  /**
   * @param options.indexed  rows are to be found by their strings. Default false
   * @param options.spill  file for the bytes. Default: they stay in memory
   */
  constructor({ indexed = false, spill }: { indexed?: boolean; spill?: SpillFile | undefined } = {}) {
    this.#spill = spill;
    if (!indexed) return;
    this.#slots = new Int32Array(2 * FIRST_ROWS);
    this.#hashes = new Uint32Array(FIRST_ROWS);
  }

  /** Number of rows. */
  get size(): number {
    return this.#size;
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    let total = this.#addresses.byteLength + this.#lengths.byteLength;
    total += (this.#slots?.byteLength ?? 0) + (this.#hashes?.byteLength ?? 0);
    for (const chunk of this.#chunks) total += typeof chunk === 'number' ? 0 : chunk.length;
    return total;
  }

  /**
   * Appends a string, which may be present already, and returns its row.
   *
   * @throws UndriftError when the table is indexed
   */
  add(text: string): number {
    if (this.#slots !== undefined) throw new UndriftError('an indexed table takes strings by intern()');
    return this.#append(this.#write(text));
  }

  /** Returns the row of a string, which is appended if it is new. Requires an indexed table. */
  intern(text: string): number {
    const length = this.#write(text);
    const chunk = this.#chunks.at(-1) as Buffer;
    const hash = hashBytes(chunk, this.#tail, length);
    const slot = this.#probe(chunk, this.#tail, length, hash);
    const found = this.#slots![slot]!;
    if (found > 0) return found - 1; // The bytes behind the tail are overwritten by the next string.
    const row = this.#append(length);
    this.#slots![slot] = row + 1;
    this.#hashes![row] = hash;
    if (2 * this.#size > this.#slots!.length) this.#rehash(2 * this.#slots!.length);
    return row;
  }

  /** Finds the row of a string; undefined if there is none. Requires an indexed table. */
  find(text: string): number | undefined {
    const bytes = Buffer.from(text, 'utf8');
    const found = this.#slots![this.#probe(bytes, 0, bytes.length, hashBytes(bytes, 0, bytes.length))]!;
    return found > 0 ? found - 1 : undefined;
  }

  /** String of a row. */
  get(row: number): string {
    const { chunk, start, end } = this.#locate(row);
    return chunk.toString('utf8', start, end);
  }

  /** UTF-8 bytes of a row; a view, not a copy, where they are in memory. */
  utf8(row: number): Buffer {
    const { chunk, start, end } = this.#locate(row);
    return chunk.subarray(start, end);
  }

  /**
   * Rearranges the rows of a table without index: row i becomes the former row `order[i]`.
   *
   * @param order  each row once
   */
  rearrange(order: ArrayLike<number>): this {
    const [addresses, lengths] = [this.#addresses, this.#lengths];
    this.#addresses = Float64Array.from(order, (row) => addresses[row]!);
    this.#lengths = Uint32Array.from(order, (row) => lengths[row]!);
    return this;
  }

  /** Makes the hash index of a finished table. Of equal strings the first row is found. */
  index(): this {
    if (this.#slots !== undefined) return this;
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * this.#size + 2)));
    this.#hashes = new Uint32Array(this.#size);
    for (let row = 0; row < this.#size; row++) {
      const { chunk, start, end } = this.#locate(row);
      const hash = hashBytes(chunk, start, end - start);
      this.#hashes[row] = hash;
      const slot = this.#probe(chunk, start, end - start, hash);
      if (this.#slots[slot] === 0) this.#slots[slot] = row + 1;
    }
    return this;
  }

  #locate(row: number): { chunk: Buffer; start: number; end: number } {
    if (!(row >= 0 && row < this.#size))
      throw new UndriftError(`row ${row} of a table of ${this.#size} rows`);
    const address = this.#addresses[row]!;
    const chunk = Math.floor(address / CHUNK_BYTES);
    const start = address - chunk * CHUNK_BYTES;
    const held = this.#chunks[chunk]!;
    const length = this.#lengths[row]!;
    if (typeof held !== 'number') return { chunk: held, start, end: start + length };
    const bytes = Buffer.allocUnsafe(length);
    this.#spill!.read(held + start, bytes);
    return { chunk: bytes, start: 0, end: length };
  }

  /** Ends a chunk after some bytes: writes it to the spill file, or releases its unused end if that is large. */
  #finish(chunk: Buffer, used: number): Chunk {
    if (this.#spill) return this.#spill.append(chunk.subarray(0, used));
    return chunk.length - used > chunk.length / 8 ? copyOf(chunk, used) : chunk;
  }

  /** Releases the spare memory of growth. Strings can still be added afterwards. */
  trim(): this {
    const last = this.#chunks.at(-1);
    if (last !== undefined && typeof last !== 'number')
      this.#chunks[this.#chunks.length - 1] = this.#spill
        ? this.#finish(last, this.#tail)
        : copyOf(last, this.#tail);
    this.#addresses = this.#addresses.slice(0, this.#size);
    this.#lengths = this.#lengths.slice(0, this.#size);
    if (this.#hashes !== undefined) this.#hashes = this.#hashes.slice(0, this.#size);
    return this;
  }

  /** Drops the hash index of a table that is only read from now on. */
  dropIndex(): this {
    this.#slots = undefined;
    this.#hashes = undefined;
    return this;
  }

  /** Writes the string behind the tail, after making room for it, and returns its length in bytes. */
  #write(text: string): number {
    const last = this.#chunks.at(-1);
    // A chunk in the spill file takes no more strings.
    let chunk = typeof last === 'number' ? undefined : last;
    // A UTF-16 unit takes at most three bytes. In most cases there is room for the worst case, and bytes need
    // not be counted.
    if (chunk === undefined || chunk.length - this.#tail < 3 * text.length) {
      const length = Buffer.byteLength(text);
      if (chunk === undefined || chunk.length - this.#tail < length) {
        const grown = chunk === undefined ? FIRST_CHUNK_BYTES : Math.min(CHUNK_BYTES, 2 * chunk.length);
        if (chunk !== undefined) this.#chunks[this.#chunks.length - 1] = this.#finish(chunk, this.#tail);
        chunk = Buffer.allocUnsafeSlow(Math.max(grown, length));
        this.#chunks.push(chunk);
        this.#tail = 0;
      }
    }
    return chunk.write(text, this.#tail, 'utf8');
  }

  /** Turns the bytes behind the tail into a row. */
  #append(length: number): number {
    const row = this.#size++;
    if (row >= this.#lengths.length) {
      const capacity = Math.max(FIRST_ROWS, Math.ceil(1.5 * row));
      this.#addresses = grow(this.#addresses, new Float64Array(capacity));
      this.#lengths = grow(this.#lengths, new Uint32Array(capacity));
      if (this.#hashes !== undefined) this.#hashes = grow(this.#hashes, new Uint32Array(capacity));
    }
    this.#addresses[row] = (this.#chunks.length - 1) * CHUNK_BYTES + this.#tail;
    this.#lengths[row] = length;
    this.#tail += length;
    return row;
  }

  /** Finds the slot that holds the string, or the free slot where it belongs. */
  #probe(bytes: Buffer, start: number, length: number, hash: number): number {
    const slots = this.#slots!;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot]! - 1;
      if (row < 0) return slot;
      if (this.#hashes![row] !== hash || this.#lengths[row] !== length) continue;
      const stored = this.#locate(row);
      if (bytes.compare(stored.chunk, stored.start, stored.end, start, start + length) === 0) return slot;
    }
  }

  #rehash(slotCount: number): void {
    const slots = new Int32Array(slotCount);
    const mask = slotCount - 1;
    for (let row = 0; row < this.#size; row++) {
      let slot = this.#hashes![row]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = row + 1;
    }
    this.#slots = slots;
  }
}

function grow<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function copyOf(chunk: Buffer, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  chunk.copy(copy, 0, 0, length);
  return copy;
}

/** FNV-1a hash with MurmurHash3's final mix, because slots are taken from the low bits. */
function hashBytes(bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
