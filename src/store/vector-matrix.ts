import { checkRows } from '../search/block-search.ts';
import { UndriftError } from '../util/errors.ts';
import { PassageSet } from './passage-set.ts';
import type { NumberedVectors, RowFilter, VectorPart, VectorSource } from './vector-source.ts';

/** Rows of a source without their vectors, in the order of the passages' numbers. */
interface Rows {
  readonly pids: Int32Array;
  /** Version of the table that each row was written for. */
  readonly versions: Int32Array;
  /** Place of each row's table among the parts. */
  readonly parts: Uint8Array;
  /** Parts of the source. */
  readonly of: readonly VectorPart[];
}

/** Difference between the rows of a matrix and those of a later state of its source. */
export interface MatrixChange {
  /** Rows after the change. */
  readonly rows: Rows;
  /** Row before the change of each row; −1 for a new one. Ascending where it is not −1. */
  readonly from: Int32Array;
  /** Rows, after the change, whose vectors are new. */
  readonly put: readonly number[];
  /** f32[put, D]: vectors of these rows. */
  readonly vectors: Float32Array;
}

/** Share of changed rows from which on reading all of them anew takes less time. */
const MOST_CHANGED = 0.25;
/** Spare rows of a matrix, so that few new rows need no other memory. */
const spareRows = (count: number): number => 1024 + (count >> 4);

/**
 * Vectors of a source in memory, in the order of their passages' numbers.
 *
 * Changes are made in two steps: {@link VectorMatrix.changes} reads what has changed while the matrix is in use, and
 * {@link VectorMatrix.apply} moves and writes rows while it is not.
 */
export class VectorMatrix {
  private rows: Rows;
  private readonly dimension: number;
  /** f32[capacity, D]; the rows after the last one are spare. */
  private memory: Float32Array;

  private constructor(rows: Rows, dimension: number) {
    this.rows = rows;
    this.dimension = dimension;
    this.memory = new Float32Array((rows.pids.length + spareRows(rows.pids.length)) * dimension);
  }

  /**
   * Reads all vectors of a source, each into its place, so that there is one copy of them.
   *
   * @throws UndriftError for a vector that is not finite
   */
  static async load(source: VectorSource): Promise<VectorMatrix> {
    const rows = await readRows(source);
    const { pids } = rows;
    const matrix = new VectorMatrix(rows, source.dimension);
    const places = placesOf(pids, source.nextPassage);
    let count = 0;
    for await (const part of source.stream()) {
      matrix.write(part, places);
      count += part.pids.length;
    }
    if (count !== pids.length) throw changedMeanwhile();
    checkRows('the store', matrix.vectors, source.dimension);
    return matrix;
  }

  /** Number of rows. */
  get size(): number {
    return this.rows.pids.length;
  }

  /** i32[N]: numbers of the passages, ascending. */
  get pids(): Int32Array {
    return this.rows.pids;
  }

  /** f32[N, D]: vectors of the passages. */
  get vectors(): Float32Array {
    return this.memory.subarray(0, this.size * this.dimension);
  }

  /** Computes the inner products of a query with the vectors of some passages; −∞ for a passage without a vector. */
  scores(query: Float32Array, pids: Int32Array): Float32Array {
    const { memory, dimension: D } = this;
    return Float32Array.from(pids, (pid) => {
      const row = this.find(pid);
      if (row === -1) return Number.NEGATIVE_INFINITY;
      let score = 0;
      for (let d = 0, at = row * D; d < D; d++) score += query[d]! * memory[at + d]!;
      return score;
    });
  }

  /** Lists the rows of wanted passages. */
  select(isWanted: RowFilter): Int32Array {
    const { pids, parts, of } = this.rows;
    const found = new Int32Array(pids.length);
    let count = 0;
    for (let row = 0; row < pids.length; row++) {
      if (isWanted(pids[row]!, of[parts[row]!]!.isMoved)) found[count++] = row;
    }
    return found.subarray(0, count);
  }

  /** Whether a passage is in the matrix and wanted. */
  has(pid: number, isWanted: RowFilter): boolean {
    const row = this.find(pid);
    return row !== -1 && isWanted(pid, this.rows.of[this.rows.parts[row]!]!.isMoved);
  }

  /**
   * Reads what differs in a later state of the source. Only numbers and versions are read of rows that have not changed.
   *
   * @returns  the difference; undefined if so much has changed that loading all of it takes less time
   * @throws UndriftError for a vector that is not finite
   */
  async changes(source: VectorSource): Promise<MatrixChange | undefined> {
    const D = this.dimension;
    const rows = await readRows(source);
    const { from, put } = compare(this.rows, rows);
    if (put.length > MOST_CHANGED * rows.pids.length) return undefined;
    const vectors = new Float32Array(put.length * D);
    const places = new Map(put.map((row, i) => [rows.pids[row]!, i]));
    let count = 0;
    for (const [place, part] of rows.of.entries()) {
      const pids = put.filter((row) => rows.parts[row] === place).map((row) => rows.pids[row]!);
      for await (const read of part.read(pids)) {
        for (const [i, pid] of read.pids.entries()) {
          vectors.set(read.vectors.subarray(i * D, (i + 1) * D), places.get(pid)! * D);
        }
        count += read.pids.length;
      }
    }
    if (count !== put.length) throw changedMeanwhile();
    checkRows('the store', vectors, D);
    this.reserve(rows.pids.length);
    return { rows, from, put, vectors };
  }

  /** Makes a change that `changes` has read. The vectors must not be in use. */
  apply({ rows, from, put, vectors }: MatrixChange): void {
    const { memory, dimension: D } = this;
    // `from` is ascending, so that rows that move towards the front make room for each other from the front on, and the others from
    // the back on.
    for (let to = 0; to < from.length; ) {
      const start = to++;
      if (from[start]! <= start) continue;
      while (to < from.length && from[to] === from[to - 1]! + 1) to++;
      memory.copyWithin(start * D, from[start]! * D, (from[start]! + to - start) * D);
    }
    for (let to = from.length - 1; to >= 0; ) {
      const end = to--;
      if (from[end] === -1 || from[end]! >= end) continue;
      while (to >= 0 && from[to] !== -1 && from[to] === from[to + 1]! - 1) to--;
      memory.copyWithin((to + 1) * D, from[to + 1]! * D, (from[end]! + 1) * D);
    }
    for (const [i, row] of put.entries()) memory.set(vectors.subarray(i * D, (i + 1) * D), row * D);
    this.rows = rows;
  }

  /** Finds the row of a passage; −1 if there is none. */
  private find(pid: number): number {
    const { pids } = this.rows;
    let [low, high] = [0, pids.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pids[middle]! < pid) low = middle + 1;
      else high = middle;
    }
    return pids[low] === pid ? low : -1;
  }

  /** Makes room for a number of rows. The former memory stays as it is for those who search in it. */
  private reserve(count: number): void {
    if (count * this.dimension <= this.memory.length) return;
    const larger = new Float32Array((count + spareRows(count)) * this.dimension);
    larger.set(this.vectors);
    this.memory = larger;
  }

  private write({ pids, vectors }: NumberedVectors, places: Int32Array): void {
    const { memory, dimension: D } = this;
    for (let row = 0; row < pids.length; ) {
      const start = row++;
      const place = places[pids[start]!] ?? -1;
      if (place === -1) throw changedMeanwhile();
      while (row < pids.length && places[pids[row]!] === place + row - start) row++;
      memory.set(vectors.subarray(start * D, row * D), place * D);
    }
  }
}

const changedMeanwhile = () =>
  new UndriftError('the vectors of the store do not fit together: two reads of one version differ', {
    help: 'restore the folder from a copy, or index the documents again into a new store',
  });

/** Reads which rows a source has. Each passage is taken from the first table that has it. */
async function readRows({ parts: of, nextPassage }: VectorSource): Promise<Rows> {
  const seen = new PassageSet(nextPassage);
  const versionOf = new Int32Array(nextPassage);
  const partOf = new Uint8Array(nextPassage);
  let count = 0;
  for (const [place, part] of of.entries()) {
    for await (const { pids, versions } of part.rows()) {
      for (const [row, pid] of pids.entries()) {
        if (seen.has(pid)) continue;
        seen.add(pid);
        versionOf[pid] = versions[row]!;
        partOf[pid] = place;
        count += 1;
      }
    }
  }
  const found = {
    pids: new Int32Array(count),
    versions: new Int32Array(count),
    parts: new Uint8Array(count),
  };
  for (let pid = 0, row = 0; pid < nextPassage; pid++) {
    if (!seen.has(pid)) continue;
    found.pids[row] = pid;
    found.versions[row] = versionOf[pid]!;
    found.parts[row++] = partOf[pid]!;
  }
  return { ...found, of };
}

/** Returns the row of each passage; −1 for one without a row. */
function placesOf(pids: Int32Array, nextPassage: number): Int32Array {
  const places = new Int32Array(nextPassage).fill(-1);
  for (const [row, pid] of pids.entries()) places[pid] = row;
  return places;
}

/** Finds the rows of a later state that an earlier one has at another place, and those whose vectors differ. */
function compare(before: Rows, after: Rows): { from: Int32Array; put: number[] } {
  const partBefore = after.of.map(({ id }) => before.of.findIndex((part) => part.id === id));
  const from = new Int32Array(after.pids.length).fill(-1);
  const put: number[] = [];
  let old = 0;
  for (const [row, pid] of after.pids.entries()) {
    while (old < before.pids.length && before.pids[old]! < pid) old++;
    const isKnown = old < before.pids.length && before.pids[old] === pid;
    if (isKnown) from[row] = old;
    const isSame =
      isKnown &&
      before.versions[old] === after.versions[row] &&
      before.parts[old] === partBefore[after.parts[row]!];
    if (!isSame) put.push(row);
  }
  return { from, put };
}
