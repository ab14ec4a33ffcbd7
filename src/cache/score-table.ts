import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { ShapeError, UsageError } from '../util/errors.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';
import { findPositions } from './find-slots.ts';
import { OldestSlots } from './oldest-slots.ts';

export interface ScoreTableOptions {
  /** Slots: C for a cache, N for a whole corpus. */
  rows: number;
  /** Embedding size, D. */
  dimension: number;
  /** Documents of the corpus that the slots may hold, N. */
  documents: number;
  /** How embeddings are stored; `f16` halves the memory. Default `f32`. */
  storage?: 'f32' | 'f16';
  /** `lru`: re-encoding a slot makes it young again; `fifo`: only insertion does. Default `lru`. */
  eviction?: 'lru' | 'fifo';
}

/** No document in this slot; no slot for this document. */
export const NONE = -1;

/** Version and stamp of a slot that holds nothing: older than anything, so that it is filled first. */
const EMPTY = -1;

/**
 * Cached embeddings to score queries against: which document each slot holds, its embedding, and the step in which that was
 * made. The embeddings may be stale; everything that trains on them can tell by how much.
 *
 * One step of a method is: read (score, sample), `refresh` what was re-encoded, `insert` what is new, `tick`. A slot that holds
 * nothing is never scored: a zero embedding would have a logit of 0 and real probability.
 *
 * Bytes per row: D × 4 (f16: D × 2) for the embedding and 8 for document and version; 4 more once a `fifo` table has been
 * refreshed, whose rows then have two dates. There is no index by document, whose size would follow the corpus: where the documents
 * of a batch are is found in one pass over the rows, a nanosecond each, beside a scoring that takes 2 B D operations for each.
 *
 * Ages and eviction as in google-research/negative_cache: oldest first, the lowest slot among equals. Differs: a document is
 * held once. Inserting one that is there refreshes it, so no document weighs double in the partition function, and a known
 * positive can be masked by one look-up.
 */
export class ScoreTable {
  readonly rows: number;
  readonly dimension: number;
  readonly storage: 'f32' | 'f16';
  readonly eviction: 'lru' | 'fifo';
  /** i32[rows]: document of each slot, or `NONE`. */
  readonly documents: Int32Array<ArrayBuffer>;
  /** i32[rows]: number of the step, from 1, in which the embedding was made; 0 where it was before the first; −1: empty. */
  readonly versions: Int32Array<ArrayBuffer>;
  /** Steps done. */
  clock = 0;
  private readonly embeddings: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /**
   * Step from which a slot's age counts: of its embedding (`lru`), of its insertion (`fifo`). These are the versions themselves as
   * long as no row has been embedded again where it stands.
   */
  private stamps: Int32Array<ArrayBuffer>;
  private readonly corpusRows: number;
  private readonly byAge: OldestSlots;
  private filledCount = 0;

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

  /** Slots that hold a document. */
  get filled(): number {
    return this.filledCount;
  }

  /** Bytes of the rows. */
  get bytes(): number {
    const { embeddings, documents, versions, stamps } = this;
    const own = stamps === versions ? 0 : stamps.byteLength;
    return embeddings.byteLength + documents.byteLength + versions.byteLength + own;
  }

  /** Steps since the slot's embedding was made (`lru`) or since it was inserted (`fifo`); all steps for an empty one. */
  age(slot: number): number {
    return this.clock - Math.max(0, this.stamps[slot]!);
  }

  /** i32[rows] */
  get ages(): Int32Array<ArrayBuffer> {
    return this.stamps.map((stamp) => this.clock - Math.max(0, stamp));
  }

  /** Slot that holds a document, or `NONE`: a pass over the rows. For several documents there is `slotsOf`. */
  slotOf(document: number): number {
    return document < 0 ? NONE : this.documents.indexOf(document);
  }

  /** i32[documents]: slots that hold some documents, or `NONE`; one pass over the rows for all of them. */
  slotsOf(documents: ArrayLike<number>): Int32Array<ArrayBuffer> {
    return findPositions(this.documents, documents);
  }

  /** [end − start, D] of consecutive slots, without a copy, in the dtype of the storage. */
  block(start: number, end: number): HostTensor {
    const data = this.embeddings.subarray(start * this.dimension, end * this.dimension);
    return hostTensor(this.storage, [end - start, this.dimension], data);
  }

  /** f32[slots, D]: copies of some rows. */
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
   * Writes new embeddings into slots that keep their documents. A slot named twice gets the last one given.
   *
   * @param embeddings  f32[slots, D]
   * @param options.version  step in which they were made; default the running one
   * @param options.mask  slots to write; default all
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
   * Puts documents into the oldest slots, empty ones first; those that are in the table are refreshed where they are, and are
   * young again. A document given twice gets the last embedding given.
   *
   * @param embeddings  f32[documents, D]
   * @param options.mask  documents to insert; default all
   */
  insert(
    documents: ArrayLike<number>,
    embeddings: Float32Array,
    options: { version?: number; mask?: ArrayLike<boolean> } = {},
  ): void {
    this.checkCount(documents.length, embeddings);
    const { version = this.clock + 1, mask } = options;
    const rowOf = new Map<number, number>();
    for (let i = 0; i < documents.length; i++) {
      if (mask && !mask[i]) continue;
      this.checkDocument(documents[i]!);
      rowOf.set(documents[i]!, i);
    }
    const wanted = Int32Array.from(rowOf.keys());
    const rows = Int32Array.from(rowOf.values());
    const slots = this.slotsOf(wanted);
    const added = unmasked(wanted.length, undefined).filter((i) => slots[i] === NONE);
    if (added.length > this.rows) {
      throw new UsageError(`${added.length} documents do not fit into a cache of ${this.rows} rows`, {
        help: 'make the cache larger, or the batch smaller',
      });
    }
    // First those that are here: being young again, they are not evicted by the others unless nothing else is left.
    const held = unmasked(wanted.length, undefined).filter((i) => slots[i] !== NONE);
    this.place(
      held.map((i) => slots[i]!),
      embeddings,
      held.map((i) => rows[i]!),
      version,
    );
    const oldest = this.oldest(added.length);
    for (const [at, slot] of oldest.entries()) this.assign(slot, wanted[added[at]!]!);
    this.place(
      oldest,
      embeddings,
      added.map((i) => rows[i]!),
      version,
    );
  }

  /**
   * Fills slots 0, 1, … at once, and empties the rest: a random snapshot, or the whole corpus.
   * @param embeddings  f32[documents, D]
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
   * Makes this table, of f32, hold slots 0, 1, … of another with other embeddings.
   *
   * @param of.documents  i32[rows], each once;  @param of.versions  i32[rows]
   * @param write  puts f32[rows, D] where the embeddings are stored
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
    this.documents.set(of.documents);
    this.versions.set(of.versions);
    this.filledCount = count;
    await write(embeddings.subarray(0, count * dimension));
  }

  /** Empties all slots. */
  clear(): void {
    this.documents.fill(NONE);
    this.versions.fill(EMPTY);
    this.stamps = this.versions;
    this.filledCount = 0;
    this.byAge.clear();
  }

  /** The n oldest slots, oldest first, the lowest among equals. */
  oldest(n: number): Int32Array {
    return this.byAge.take(Math.floor(n), this.clock);
  }

  /** Ends a step. */
  tick(): void {
    this.clock += 1;
  }

  /** Everything, for a checkpoint. The arrays are the live ones. */
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

  /** Takes back what `state` gave. @throws ShapeError where it is of another table */
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
    this.byAge.clear();
  }

  private checkCount(count: number, embeddings: Float32Array): void {
    const elements = count * this.dimension;
    if (embeddings.length !== elements) {
      throw new ShapeError(
        `${count} rows of dimension ${this.dimension} need ${elements} numbers, got ${embeddings.length}`,
      );
    }
  }

  /** Rows of documents that come in, or come anew: young by any reckoning. */
  private place(slots: Int32Array, embeddings: Float32Array, from: Int32Array, version: number): void {
    this.write(slots, embeddings, from, version);
    this.stamp(slots, version);
  }

  /** Copies rows `from[i]` of the embeddings into `slots[i]`; neighbours that stay neighbours go together. */
  private write(slots: Int32Array, embeddings: Float32Array, from: Int32Array, version: number): void {
    const D = this.dimension;
    for (let i = 0, end = 1; i < slots.length; i = end++) {
      while (end < slots.length && slots[end]! - slots[i]! === end - i && from[end]! - from[i]! === end - i)
        end += 1;
      const [slot, row, count] = [slots[i]!, from[i]!, end - i];
      const source = embeddings.subarray(row * D, (row + count) * D);
      if (this.embeddings instanceof Float32Array) this.embeddings.set(source, slot * D);
      else f32ToF16(source, this.embeddings.subarray(slot * D, (slot + count) * D));
      this.versions.fill(version, slot, slot + count);
    }
  }

  private stamp(slots: Int32Array, version: number): void {
    for (let i = 0; i < slots.length; i++) {
      this.stamps[slots[i]!] = version;
      this.byAge.stamped(slots[i]!, version);
    }
  }

  /** @param given  the slot as the caller gave it, perhaps no whole number */
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
    this.documents[slot] = document;
  }
}

/** i32: the numbers 0 … count − 1 that a mask has. */
function unmasked(count: number, mask: ArrayLike<boolean> | undefined): Int32Array<ArrayBuffer> {
  const all = new Int32Array(count);
  let kept = 0;
  for (let i = 0; i < count; i++) if (!mask || mask[i]) all[kept++] = i;
  return all.subarray(0, kept);
}
