import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { ShapeError, UsageError } from '../util/errors.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';

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

/** Oldest slots that are looked up together, so that finding one is not a pass over the whole table. */
const LOOKAHEAD = 4096;

/**
 * Cached embeddings to score queries against: which document each slot holds, its embedding, and the step in which that was
 * made. The embeddings may be stale; everything that trains on them can tell by how much.
 *
 * One step of a method is: read (score, sample), `refresh` what was re-encoded, `insert` what is new, `tick`. A slot that holds
 * nothing is never scored: a zero embedding would have a logit of 0 and real probability.
 *
 * Bytes per row: D × 4 (f16: D × 2) for the embedding and 8 for document and version, 12 with `fifo`; and 4 for each document of
 * the corpus, to find its slot.
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
  /** Step from which a slot's age counts: of its embedding (`lru`), of its insertion (`fifo`). */
  private readonly stamps: Int32Array<ArrayBuffer>;
  private readonly slots: Int32Array;
  private filledCount = 0;
  /**
   * All slots with a stamp up to `limit`, oldest first, with the stamps by which they were listed; void where the stamp has
   * changed since.
   */
  private candidates: { slots: Uint32Array; stamps: Int32Array; limit: number; head: number } = noCandidates;

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
    this.stamps = eviction === 'lru' ? this.versions : new Int32Array(rows).fill(EMPTY);
    this.embeddings =
      storage === 'f32' ? new Float32Array(rows * dimension) : new Uint16Array(rows * dimension);
    this.slots = new Int32Array(documents).fill(NONE);
  }

  /** Slots that hold a document. */
  get filled(): number {
    return this.filledCount;
  }

  /** Bytes of the rows, the look-up by document included. */
  get bytes(): number {
    const own = this.eviction === 'fifo' ? this.stamps.byteLength : 0;
    const { embeddings, documents, versions, slots } = this;
    return embeddings.byteLength + documents.byteLength + versions.byteLength + slots.byteLength + own;
  }

  /** Steps since the slot's embedding was made (`lru`) or since it was inserted (`fifo`); all steps for an empty one. */
  age(slot: number): number {
    return this.clock - Math.max(0, this.stamps[slot]!);
  }

  /** i32[rows] */
  get ages(): Int32Array<ArrayBuffer> {
    return this.stamps.map((stamp) => this.clock - Math.max(0, stamp));
  }

  /** Slot that holds a document, or `NONE`. */
  slotOf(document: number): number {
    return this.slots[document] ?? NONE;
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
    for (let i = 0; i < slots.length; i++) if (!mask || mask[i]) this.checkFilled(slots[i]!);
    for (let i = 0; i < slots.length; i++)
      if (!mask || mask[i]) this.write(slots[i]!, embeddings, i, version);
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
    const added = [...rowOf.keys()].filter((document) => this.slotOf(document) === NONE);
    if (added.length > this.rows) {
      throw new UsageError(`${added.length} documents do not fit into a cache of ${this.rows} rows`, {
        help: 'make the cache larger, or the batch smaller',
      });
    }
    // First those that are here: being young again, they are not evicted by the others unless nothing else is left.
    for (const [document, i] of rowOf) {
      const slot = this.slotOf(document);
      if (slot === NONE) continue;
      this.write(slot, embeddings, i, version);
      this.stamp(slot, version);
    }
    const slots = this.oldest(added.length);
    for (const [position, document] of added.entries()) {
      const slot = slots[position]!;
      this.assign(slot, document);
      this.write(slot, embeddings, rowOf.get(document)!, version);
      this.stamp(slot, version);
    }
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
    const seen = new Uint8Array(this.slots.length);
    for (let i = 0; i < documents.length; i++) {
      const document = documents[i]!;
      this.checkDocument(document);
      if (seen[document]) throw new UsageError(`document ${document} is given twice`);
      seen[document] = 1;
    }
    const { version = this.clock } = options;
    this.clear();
    for (let slot = 0; slot < documents.length; slot++) {
      this.assign(slot, documents[slot]!);
      this.write(slot, embeddings, slot, version);
      this.stamp(slot, version);
    }
  }

  /** Empties all slots. */
  clear(): void {
    this.documents.fill(NONE);
    this.slots.fill(NONE);
    this.versions.fill(EMPTY);
    this.stamps.fill(EMPTY);
    this.filledCount = 0;
    this.candidates = noCandidates;
  }

  /** The n oldest slots, oldest first, the lowest among equals. */
  oldest(n: number): Int32Array {
    const wanted = Math.min(n, this.rows);
    let found = this.takeCandidates(wanted);
    if (found.length < wanted) {
      this.findCandidates(wanted);
      found = this.takeCandidates(wanted);
    }
    return Int32Array.from(found);
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
    const slots = new Int32Array(this.slots.length).fill(NONE);
    let filled = 0;
    for (const [slot, document] of stored.entries()) {
      if (document === NONE) continue;
      if (!(document >= 0 && document < slots.length) || slots[document] !== NONE) {
        throw new ShapeError(`the stored cache holds document ${document} in slot ${slot}`, {
          help: `it was made with another corpus: this one has ${slots.length} documents, each held once`,
        });
      }
      slots[document] = slot;
      filled += 1;
    }
    for (const [name, { data: target }] of own) {
      if (name === 'clock') this.clock = Number(state.clock!.data[0]);
      else (target as Float32Array).set(state[name]!.data as Float32Array);
    }
    this.slots.set(slots);
    this.filledCount = filled;
    this.candidates = noCandidates;
  }

  private checkCount(count: number, embeddings: Float32Array): void {
    const elements = count * this.dimension;
    if (embeddings.length !== elements) {
      throw new ShapeError(
        `${count} rows of dimension ${this.dimension} need ${elements} numbers, got ${embeddings.length}`,
      );
    }
  }

  private write(slot: number, embeddings: Float32Array, i: number, version: number): void {
    const D = this.dimension;
    const source = embeddings.subarray(i * D, (i + 1) * D);
    const target = this.embeddings.subarray(slot * D, (slot + 1) * D);
    if (target instanceof Uint16Array) f32ToF16(source, target);
    else target.set(source);
    this.versions[slot] = version;
    if (this.eviction === 'lru') this.stamp(slot, version);
  }

  /** A slot that comes to lie among the oldest is not in their list: the list is made anew when it is needed. */
  private stamp(slot: number, version: number): void {
    this.stamps[slot] = version;
    if (version <= this.candidates.limit) this.candidates = noCandidates;
  }

  private checkFilled(slot: number): void {
    const document = this.documents[slot];
    if (document === undefined) {
      throw new UsageError(`slot ${slot} is outside a table of ${this.rows} rows`);
    }
    if (document === NONE) {
      throw new UsageError(`slot ${slot} is empty`, { help: 'insert a document first' });
    }
  }

  private checkDocument(document: number): void {
    if (!(Number.isInteger(document) && document >= 0 && document < this.slots.length)) {
      throw new UsageError(`document ${document} is outside a corpus of ${this.slots.length}`);
    }
  }

  private assign(slot: number, document: number): void {
    const former = this.documents[slot]!;
    if (former === NONE) this.filledCount += 1;
    else this.slots[former] = NONE;
    this.documents[slot] = document;
    this.slots[document] = slot;
  }

  private takeCandidates(n: number): number[] {
    const { candidates, stamps } = this;
    const isVoid = (at: number) => stamps[candidates.slots[at]!] !== candidates.stamps[at];
    while (candidates.head < candidates.slots.length && isVoid(candidates.head)) candidates.head += 1;
    const found: number[] = [];
    for (let at = candidates.head; at < candidates.slots.length && found.length < n; at++) {
      if (!isVoid(at)) found.push(candidates.slots[at]!);
    }
    return found;
  }

  /** One pass over the table: every slot up to the stamp that the n-th oldest has, in order. */
  private findCandidates(wanted: number): void {
    const { stamps, clock, rows } = this;
    const sorted = stamps.slice().sort();
    let limit = sorted[Math.min(rows, wanted + LOOKAHEAD) - 1]!;
    // What is written in the running step gets the next stamp: a list that leaves it out stays whole.
    if (limit > clock && sorted[wanted - 1]! <= clock) limit = clock;
    const slots = Uint32Array.from(stamps.keys()).filter((slot) => stamps[slot]! <= limit);
    slots.sort((a, b) => stamps[a]! - stamps[b]! || a - b);
    const listed = Int32Array.from(slots, (slot) => stamps[slot]!);
    this.candidates = { slots, stamps: listed, limit, head: 0 };
  }
}

const noCandidates = {
  slots: new Uint32Array(0),
  stamps: new Int32Array(0),
  limit: Number.NEGATIVE_INFINITY,
  head: 0,
};
