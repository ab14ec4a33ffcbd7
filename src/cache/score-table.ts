import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { ShapeError, UsageError } from '../util/errors.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';
import { NONE } from '../util/vector-rows.ts';
import { DocumentSlots } from './document-slots.ts';
import { findPositions } from './find-slots.ts';
import { OldestSlots } from './oldest-slots.ts';
import { keptPairs, lastRows, unmasked } from './row-lists.ts';

/** Settings of a {@link ScoreTable}. */
export interface ScoreTableOptions {
  /** Number of slots: C for a cache, N for a whole corpus. */
  rows: number;
  /** Embedding size D. */
  dimension: number;
  /** Number N of documents in the corpus; slots hold documents 0 … N − 1. */
  documents: number;
  /** Dtype of the stored embeddings; `f16` halves the memory. Default `f32`. */
  storage?: 'f32' | 'f16';
  /**
   * Order of eviction. `lru`: re-encoding a slot makes it young again. `fifo`: only insertion does. Default
   * `lru`.
   */
  eviction?: 'lru' | 'fifo';
}

/** Rows from which documents are found by a hash table: those of a smaller table are found as fast in one pass. */
const HASHED_ROWS = 16_384;
/** Version and stamp of an empty slot: older than any other, so that empty slots are filled first. */
const EMPTY = -1;

/**
 * Table of cached embeddings that queries are scored against. For each slot it holds the document, its
 * embedding, and the step in which the embedding was made.
 *
 * Embeddings may be stale; `versions` tells by how much. A step of a method reads (scores, samples), calls
 * `refresh` for re-encoded slots and `insert` for new documents, and ends with `tick`. Empty slots are never
 * scored: a zero embedding would have a logit of 0 and a real probability.
 *
 * A row takes D × 4 bytes (f16: D × 2) for the embedding and 8 for document and version. A `fifo` table that
 * has been refreshed takes 4 more, because its rows have two dates. A table of 16,384 rows or more whose documents are
 * looked up takes 6 more for a hash table of its rows; documents of a smaller one are found in one pass over the rows.
 *
 * Ages and eviction follow google-research/negative_cache: oldest first, the lowest slot among equals. Unlike
 * there, a document is held only once, and inserting a document that is present refreshes it. So no document
 * weighs double in the partition function, and one look-up masks a known positive.
 */
export class ScoreTable {
  /** Number of slots. */
  readonly rows: number;
  /** Embedding size D. */
  readonly dimension: number;
  /** Dtype of the stored embeddings. */
  readonly storage: 'f32' | 'f16';
  /** Order of eviction. */
  readonly eviction: 'lru' | 'fifo';
  /** Document of each slot, i32[rows]; `NONE` for an empty slot. */
  readonly documents: Int32Array<ArrayBuffer>;
  /**
   * Step in which each embedding was made, i32[rows], counted from 1; 0 for before the first step, −1 for an
   * empty slot.
   */
  readonly versions: Int32Array<ArrayBuffer>;
  /** Number of finished steps. */
  clock = 0;
  private readonly embeddings: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /**
   * Step from which the age of a slot counts: that of its embedding (`lru`) or of its insertion (`fifo`).
   * This is the array `versions` itself as long as no row of a `fifo` table has been re-encoded in place.
   */
  private stamps: Int32Array<ArrayBuffer>;
  private readonly corpusRows: number;
  private readonly byAge: OldestSlots;
  private filledCount = 0;
  /** Slots by document, from the first look-up on; undefined after all rows have changed. */
  private lookup: DocumentSlots | undefined;
  /** Whether all rows change at once, so that a hash table would be outdated as soon as it is made. */
  private isMirror = false;
  private onWrite: ((slots: Int32Array | 'all') => void) | undefined;

  constructor({ rows, dimension, documents, storage = 'f32', eviction = 'lru' }: ScoreTableOptions) {
    if (!(Number.isSafeInteger(rows) && rows > 0 && Number.isSafeInteger(dimension) && dimension > 0)) {
      throw new UsageError(
        `a score table needs at least one row and one dimension, got ${rows} × ${dimension}`,
      );
    }
    this.rows = rows;
    this.dimension = dimension;
    this.storage = storage;
    this.eviction = eviction;
    this.documents = new Int32Array(rows).fill(NONE);
    this.versions = new Int32Array(rows).fill(EMPTY);
    this.stamps = this.versions;
    this.byAge = new OldestSlots(rows, () => this.stamps);
    this.embeddings =
      storage === 'f32' ? new Float32Array(rows * dimension) : new Uint16Array(rows * dimension);
    this.corpusRows = documents;
  }

  /**
   * Sets the function that is told of slots with a new embedding, or that all slots have changed. There is one
   * such function; it must not change the table.
   */
  watch(onWrite: (slots: Int32Array | 'all') => void): void {
    this.onWrite = onWrite;
  }

  /** Number of slots that hold a document. */
  get filled(): number {
    return this.filledCount;
  }

  /** Memory of the rows, in bytes. */
  get bytes(): number {
    const { embeddings, documents, versions, stamps } = this;
    const own = stamps === versions ? 0 : stamps.byteLength;
    const hashed = this.lookup?.bytes ?? 0;
    return embeddings.byteLength + documents.byteLength + versions.byteLength + own + hashed;
  }

  /**
   * Age of a slot: steps since its embedding was made (`lru`) or since it was inserted (`fifo`). The age of
   * an empty slot is the number of all finished steps.
   */
  age(slot: number): number {
    return this.clock - Math.max(0, this.stamps[slot]!);
  }

  /** Ages of all slots, i32[rows]; see {@link age}. */
  get ages(): Int32Array<ArrayBuffer> {
    return this.stamps.map((stamp) => this.clock - Math.max(0, stamp));
  }

  /**
   * Finds the slot that holds a document, or `NONE`, in one pass over the rows. Use `slotsOf` for several
   * documents.
   */
  slotOf(document: number): number {
    return document < 0 ? NONE : this.documents.indexOf(document);
  }

  /**
   * Finds the slots that hold the given documents, i32[documents]; `NONE` for absent ones. Takes one pass
   * over the rows in all, or one look-up a document in a table of 16,384 rows or more.
   */
  slotsOf(documents: ArrayLike<number>): Int32Array<ArrayBuffer> {
    if (this.rows < HASHED_ROWS || this.isMirror) return findPositions(this.documents, documents);
    this.lookup ??= new DocumentSlots(this.documents);
    const slots = new Int32Array(documents.length);
    for (let i = 0; i < slots.length; i++) slots[i] = this.lookup.find(documents[i]!);
    return slots;
  }

  /**
   * Returns the embeddings of slots `start` … `end` − 1 as a tensor [end − start, D] in the dtype of the
   * storage, without a copy.
   */
  block(start: number, end: number): HostTensor {
    const data = this.embeddings.subarray(start * this.dimension, end * this.dimension);
    return hostTensor(this.storage, [end - start, this.dimension], data);
  }

  /** Copies the embeddings of some slots: f32[slots, D]. */
  read(slots: ArrayLike<number>): Float32Array<ArrayBuffer> {
    const D = this.dimension;
    const out = new Float32Array(slots.length * D);
    for (let i = 0; i < slots.length; i++) {
      const row = this.embeddings.subarray(slots[i]! * D, (slots[i]! + 1) * D);
      if (row instanceof Uint16Array) f16ToF32(row, out.subarray(i * D, (i + 1) * D));
      else out.set(row, i * D);
    }
    return out;
  }

  /**
   * Replaces the embeddings of slots, which keep their documents. If a slot is named twice, the last
   * embedding counts.
   *
   * @param embeddings  f32[slots, D]
   * @param options.version  step in which the embeddings were made; default the running step
   * @param options.mask  slots to write; default all
   * @throws UsageError for a slot that is empty or outside the table
   * @throws ShapeError when the numbers of slots and embeddings differ
   */
  refresh(
    slots: ArrayLike<number>,
    embeddings: Float32Array,
    options: { version?: number; mask?: ArrayLike<boolean> } = {},
  ): void {
    this.checkCount(slots.length, embeddings);
    const { version = this.clock + 1, mask } = options;
    const positions = unmasked(slots.length, mask);
    const written = Int32Array.from(positions, (i) => slots[i]!);
    for (const [at, slot] of written.entries()) this.checkFilled(slots[positions[at]!]!, slot);
    if (this.eviction === 'fifo' && this.stamps === this.versions) this.stamps = this.versions.slice();
    this.write(written, embeddings, positions, version);
    if (this.eviction === 'lru') this.stamp(written, version);
  }

  /**
   * Inserts documents into the oldest slots, empty slots first. Documents already in the table are refreshed
   * in place and become young again. If a document is given twice, the last embedding counts.
   *
   * @param embeddings  f32[documents, D]
   * @param options.version  step in which the embeddings were made; default the running step
   * @param options.mask  documents to insert; default all
   * @throws UsageError for a document outside the corpus, or more new documents than slots
   * @throws ShapeError when the numbers of documents and embeddings differ
   */
  insert(
    documents: ArrayLike<number>,
    embeddings: Float32Array,
    options: { version?: number; mask?: ArrayLike<boolean> } = {},
  ): void {
    this.checkCount(documents.length, embeddings);
    const { version = this.clock + 1, mask } = options;
    for (let i = 0; i < documents.length; i++) if (!mask || mask[i]) this.checkDocument(documents[i]!);
    const { documents: wanted, rows } = lastRows(documents, mask);
    const slots = this.slotsOf(wanted);
    const added = wanted.length - slots.reduce((held, slot) => held + Number(slot !== NONE), 0);
    if (added > this.rows) {
      throw new UsageError(`${added} documents do not fit into a cache of ${this.rows} rows`, {
        help: 'make the cache larger, or the batch smaller',
      });
    }
    // Present documents come first: once young again, they are evicted by new documents only if no other slot
    // is left.
    const held = keptPairs(slots, rows, (slot) => slot !== NONE);
    this.place(held.first, embeddings, held.second, version);
    const fresh = keptPairs(wanted, rows, (_, i) => slots[i] === NONE);
    const oldest = this.oldest(added);
    for (let i = 0; i < added; i++) this.assign(oldest[i]!, fresh.first[i]!);
    this.place(oldest, embeddings, fresh.second, version);
  }

  /**
   * Fills slots 0, 1, … with the given documents and empties the rest: a random snapshot, or the whole
   * corpus.
   *
   * @param embeddings  f32[documents, D]
   * @param options.version  step in which the embeddings were made; default the last finished step
   * @throws UsageError for too many documents, a document outside the corpus or one given twice
   */
  fill(documents: ArrayLike<number>, embeddings: Float32Array, options: { version?: number } = {}): void {
    this.checkCount(documents.length, embeddings);
    if (documents.length > this.rows) {
      throw new UsageError(`${documents.length} documents do not fit into a table of ${this.rows} rows`);
    }
    const seen = new Uint8Array(this.corpusRows);
    for (let i = 0; i < documents.length; i++) {
      const document = documents[i]!;
      this.checkDocument(document);
      if (seen[document]) throw new UsageError(`document ${document} is given twice`);
      seen[document] = 1;
    }
    const { version = this.clock } = options;
    this.clear();
    const slots = unmasked(documents.length, undefined);
    for (const slot of slots) this.assign(slot, documents[slot]!);
    this.place(slots, embeddings, slots, version);
  }

  /**
   * Makes this f32 table hold slots 0, 1, … of another table, with other embeddings.
   *
   * @param of.documents  i32[rows], each document once
   * @param of.versions  i32[rows]
   * @param write  writes f32[rows, D] into the memory of the embeddings
   * @throws UsageError when the table is not f32 or has too few rows
   */
  async mirror(
    of: { readonly documents: Int32Array; readonly versions: Int32Array },
    write: (into: Float32Array<ArrayBuffer>) => Promise<void>,
  ): Promise<void> {
    const { embeddings, rows, dimension } = this;
    const count = of.documents.length;
    if (!(embeddings instanceof Float32Array) || count > rows) {
      throw new UsageError(`${count} rows do not fit into a table of ${rows} × ${this.storage}`);
    }
    this.clear();
    this.isMirror = true;
    this.documents.set(of.documents);
    this.versions.set(of.versions);
    this.filledCount = count;
    await write(embeddings.subarray(0, count * dimension));
    this.onWrite?.('all');
  }

  /** Empties all slots. */
  clear(): void {
    this.documents.fill(NONE);
    this.versions.fill(EMPTY);
    this.stamps = this.versions;
    this.filledCount = 0;
    this.lookup = undefined;
    this.byAge.clear();
    this.onWrite?.('all');
  }

  /** Returns the n oldest slots, oldest first, the lowest slot among equals. */
  oldest(n: number): Int32Array {
    return this.byAge.take(Math.floor(n), this.clock);
  }

  /** Ends a step. */
  tick(): void {
    this.clock += 1;
  }

  /** Returns the whole state, for a checkpoint. The arrays are the live ones, not copies. */
  state(): Record<string, HostTensor> {
    const { rows, dimension } = this;
    return {
      clock: hostTensor('i32', [1], Int32Array.of(this.clock)),
      documents: hostTensor('i32', [rows], this.documents),
      versions: hostTensor('i32', [rows], this.versions),
      ...(this.eviction === 'fifo' && { stamps: hostTensor('i32', [rows], this.stamps) }),
      embeddings: hostTensor(this.storage, [rows, dimension], this.embeddings),
    };
  }

  /**
   * Restores a state that `state` returned.
   *
   * @throws ShapeError when the state is of another table or another corpus
   */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const own = Object.entries(this.state());
    for (const [name, { data: target }] of own) {
      const source = state[name]?.data;
      if (source?.length === target.length && source.constructor === target.constructor) continue;
      throw new ShapeError(
        `the stored cache has no "${name}" of ${target.length} elements of this one's kind`,
        { help: 'it was made with another cache size, embedding size, storage or eviction' },
      );
    }
    const stored = state.documents!.data as Int32Array;
    const seen = new Uint8Array(this.corpusRows);
    let filled = 0;
    for (const [slot, document] of stored.entries()) {
      if (document === NONE) continue;
      if (!(document >= 0 && document < seen.length) || seen[document]) {
        throw new ShapeError(`the stored cache holds document ${document} in slot ${slot}`, {
          help: `it was made with another corpus: this one has ${seen.length} documents, each held once`,
        });
      }
      seen[document] = 1;
      filled += 1;
    }
    const { versions, stamps } = state;
    if (stamps) {
      const isSame = (stamps.data as Int32Array).every((stamp, slot) => stamp === versions!.data[slot]);
      this.stamps = isSame ? this.versions : new Int32Array(this.rows);
    }
    for (const [name, { data: target }] of Object.entries(this.state())) {
      if (name === 'clock') this.clock = Number(state.clock!.data[0]);
      else (target as Float32Array).set(state[name]!.data as Float32Array);
    }
    this.filledCount = filled;
    this.lookup = undefined;
    this.byAge.clear();
    this.onWrite?.('all');
  }

  private checkCount(count: number, embeddings: Float32Array): void {
    const elements = count * this.dimension;
    if (embeddings.length !== elements) {
      throw new ShapeError(
        `${count} rows of dimension ${this.dimension} need ${elements} numbers, got ${embeddings.length}`,
      );
    }
  }

  /** Writes rows of inserted or re-inserted documents, which become young under either eviction order. */
  private place(slots: Int32Array, embeddings: Float32Array, from: Int32Array, version: number): void {
    this.write(slots, embeddings, from, version);
    this.stamp(slots, version);
  }

  /**
   * Copies rows `from[i]` of the embeddings into `slots[i]`; runs of consecutive rows and slots are copied at
   * once.
   */
  private write(slots: Int32Array, embeddings: Float32Array, from: Int32Array, version: number): void {
    const D = this.dimension;
    for (let i = 0, end = 1; i < slots.length; i = end++) {
      while (end < slots.length && slots[end]! - slots[i]! === end - i && from[end]! - from[i]! === end - i)
        end += 1;
      const [slot, row, count] = [slots[i]!, from[i]!, end - i];
      const source = embeddings.subarray(row * D, (row + count) * D);
      if (this.embeddings instanceof Float32Array) this.embeddings.set(source, slot * D);
      else f32ToF16(source, this.embeddings.subarray(slot * D, (slot + count) * D));
    }
    for (let i = 0; i < slots.length; i++) this.versions[slots[i]!] = version;
    this.onWrite?.(slots);
  }

  private stamp(slots: Int32Array, version: number): void {
    for (let i = 0; i < slots.length; i++) {
      this.stamps[slots[i]!] = version;
      this.byAge.stamped(slots[i]!, version);
    }
  }

  /**
   * @param given  slot as given by the caller, perhaps not a whole number
   * @param slot  the same slot as an int32
   */
  private checkFilled(given: number, slot: number): void {
    const document = given === slot ? this.documents[slot] : undefined;
    if (document === undefined) {
      throw new UsageError(`slot ${given} is outside a table of ${this.rows} rows`);
    }
    if (document === NONE) {
      throw new UsageError(`slot ${slot} is empty`, { help: 'insert a document first' });
    }
  }

  private checkDocument(document: number): void {
    if (!(Number.isInteger(document) && document >= 0 && document < this.corpusRows)) {
      throw new UsageError(`document ${document} is outside a corpus of ${this.corpusRows}`);
    }
  }

  private assign(slot: number, document: number): void {
    if (this.documents[slot] === NONE) this.filledCount += 1;
    else this.lookup?.remove(slot);
    this.documents[slot] = document;
    this.lookup?.add(slot);
  }
}
