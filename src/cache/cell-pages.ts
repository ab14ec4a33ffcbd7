import { int32Words } from '../runtime/host-tensor.ts';
import { ShapeError } from '../util/errors.ts';
import { NONE } from '../util/vector-rows.ts';

/** Slots per page. */
export const PAGE_ROWS = 64;

/**
 * Lists of the slots of a table by cell, in pages of 64 slots, so that a graph can gather the rows of a cell.
 *
 * All pages of a cell but the last are full. A slot that leaves its cell is replaced by the last slot of the
 * cell. Memory: 16 bytes a slot, and half a page a cell.
 */
export class CellPages {
  /** Number of cells. */
  readonly cells: number;
  /** Cell of each slot, i32[rows]; `NONE` for a slot in no cell. */
  readonly cellOf: Int32Array<ArrayBuffer>;
  /** Position of each slot within its cell, i32[rows]. */
  readonly placeOf: Int32Array<ArrayBuffer>;
  private readonly sizes: Int32Array;
  private readonly pagesOf: number[][];
  private readonly unused: number[] = [];
  private pages = 0;
  private list: BigInt64Array<ArrayBuffer>;
  private words: Int32Array;

  /**
   * @param rows  slots of the table
   * @param cells  number of cells
   */
  constructor(rows: number, cells: number) {
    this.cells = cells;
    this.cellOf = new Int32Array(rows).fill(NONE);
    this.placeOf = new Int32Array(rows);
    this.sizes = new Int32Array(cells);
    this.pagesOf = Array.from({ length: cells }, () => []);
    this.list = new BigInt64Array(PAGE_ROWS * (Math.ceil(rows / PAGE_ROWS) + Math.ceil(cells / 2) + 1));
    this.words = int32Words(this.list);
  }

  /** Slots of each page, i64[pages, 64]. Entries past the end of a cell are slots of any cell. */
  get slots(): BigInt64Array<ArrayBuffer> {
    return this.list;
  }

  /** Memory of the lists, in bytes. */
  get bytes(): number {
    return this.cellOf.byteLength + this.placeOf.byteLength + this.sizes.byteLength + this.list.byteLength;
  }

  /** Number of slots in a cell. */
  size(cell: number): number {
    return this.sizes[cell]!;
  }

  /** Pages of a cell, in order. */
  pagesIn(cell: number): readonly number[] {
    return this.pagesOf[cell]!;
  }

  /** Slot at a position of a page. */
  slotAt(page: number, position: number): number {
    return this.words[2 * (page * PAGE_ROWS + position)]!;
  }

  /** Moves a slot to a cell. A slot that is in the cell already stays where it is. */
  move(slot: number, cell: number): void {
    if (this.cellOf[slot] === cell) return;
    if (this.cellOf[slot] !== NONE) this.remove(slot);
    const place = this.sizes[cell]!;
    const own = this.pagesOf[cell]!;
    if (place === own.length * PAGE_ROWS) own.push(this.newPage());
    this.put(slot, cell, place);
    this.sizes[cell] = place + 1;
  }

  /**
   * Puts slots where another object of this class had them.
   *
   * @throws ShapeError when they are not the lists of this table
   */
  restore(cellOf: Int32Array, placeOf: Int32Array): void {
    if (cellOf.length !== this.cellOf.length || placeOf.length !== this.cellOf.length) throw notTheseLists();
    for (const cell of cellOf) {
      if (cell === NONE) continue;
      if (!(cell >= 0 && cell < this.cells)) throw notTheseLists();
      this.sizes[cell]! += 1;
    }
    for (const [cell, size] of this.sizes.entries()) {
      for (let held = 0; held < size; held += PAGE_ROWS) this.pagesOf[cell]!.push(this.newPage());
    }
    for (const [slot, cell] of cellOf.entries()) {
      if (cell === NONE) continue;
      const place = placeOf[slot]!;
      if (!(place >= 0 && place < this.sizes[cell]!)) throw notTheseLists();
      this.put(slot, cell, place);
    }
  }

  private remove(slot: number): void {
    const cell = this.cellOf[slot]!;
    const last = this.sizes[cell]! - 1;
    const own = this.pagesOf[cell]!;
    const moved = this.slotAt(own[Math.floor(last / PAGE_ROWS)]!, last % PAGE_ROWS);
    this.put(moved, cell, this.placeOf[slot]!);
    this.sizes[cell] = last;
    if (last % PAGE_ROWS === 0) this.unused.push(own.pop()!);
    this.cellOf[slot] = NONE;
  }

  private put(slot: number, cell: number, place: number): void {
    const page = this.pagesOf[cell]![Math.floor(place / PAGE_ROWS)]!;
    this.words[2 * (page * PAGE_ROWS + (place % PAGE_ROWS))] = slot;
    this.cellOf[slot] = cell;
    this.placeOf[slot] = place;
  }

  private newPage(): number {
    const given = this.unused.pop();
    if (given !== undefined) return given;
    if ((this.pages + 1) * PAGE_ROWS > this.list.length) {
      const larger = new BigInt64Array(
        Math.ceil((1.25 * this.list.length) / PAGE_ROWS) * PAGE_ROWS + PAGE_ROWS,
      );
      larger.set(this.list);
      this.list = larger;
      this.words = int32Words(larger);
    }
    return this.pages++;
  }
}

const notTheseLists = (): ShapeError =>
  new ShapeError('the stored search index is not one of this cache', {
    help: 'it was made with another cache size, or the checkpoint is damaged',
  });
