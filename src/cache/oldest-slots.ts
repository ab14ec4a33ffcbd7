/** Oldest slots that are listed together, so that finding one is not a pass over the whole table. */
const LOOKAHEAD = 4096;

/**
 * The slots of a table in the order of their stamps, oldest first, the lowest slot among equals. The first few thousand are kept in
 * a list, so that a pass over the table is needed only now and then; memory is 8 bytes for each that is listed.
 *
 * A slot and its stamp are one number, by which the list is sorted:  key = stamp · rows + slot, exact below 2⁵³.
 */
export class OldestSlots {
  private readonly stamps: () => Int32Array;
  private readonly rows: number;
  /** Ascending keys of all slots up to the last key, as they were when listed: void where a stamp has changed since. */
  private keys = new Float64Array(0);
  private head = 0;

  /** @param stamps  i32[rows], read whenever slots are asked for */
  constructor(rows: number, stamps: () => Int32Array) {
    this.rows = rows;
    this.stamps = stamps;
  }

  /**
   * The n oldest slots, oldest first.
   * @param clock  stamps above it are of this step
   */
  take(n: number, clock: number): Int32Array {
    const wanted = Math.min(n, this.rows);
    const listed = this.takeListed(wanted);
    if (listed.length === wanted) return listed;
    this.list(wanted, clock);
    return this.takeListed(wanted);
  }

  /** Has to be told of every new stamp. A slot that comes to lie among the listed is not one of them: they are found anew. */
  stamped(slot: number, stamp: number): void {
    if (this.keys.length > 0 && stamp * this.rows + slot <= this.keys.at(-1)!) this.clear();
  }

  clear(): void {
    this.keys = new Float64Array(0);
    this.head = 0;
  }

  private takeListed(n: number): Int32Array {
    const { keys, rows } = this;
    const stamps = this.stamps();
    const found = new Int32Array(n);
    let count = 0;
    for (let at = this.head; at < keys.length && count < n; at++) {
      const stamp = Math.floor(keys[at]! / rows);
      const slot = keys[at]! - stamp * rows;
      if (stamps[slot] === stamp) found[count++] = slot;
      else if (count === 0) this.head = at + 1;
    }
    return found.subarray(0, count);
  }

  /** One pass over the table. */
  private list(wanted: number, clock: number): void {
    const { rows } = this;
    const stamps = this.stamps();
    const most = Math.min(rows, wanted + LOOKAHEAD);
    const kept = new Float64Array(Math.min(rows, 2 * most));
    let [count, limit] = [0, Number.POSITIVE_INFINITY];
    for (let slot = 0; slot < rows; slot++) {
      const key = stamps[slot]! * rows + slot;
      if (key >= limit) continue;
      kept[count++] = key;
      if (count < kept.length || count === most) continue;
      // Twice as many as are wanted: the larger half goes, and nothing larger comes in any more.
      kept.sort();
      count = most;
      limit = kept[most - 1]!;
    }
    let end = Math.min(count, most);
    const keys = kept.subarray(0, count).sort();
    // What is written in the running step gets its stamp: a list that leaves such slots out stays whole.
    while (end > wanted && keys[end - 1]! >= (clock + 1) * rows) end -= 1;
    this.keys = keys.slice(0, end);
    this.head = 0;
  }
}
