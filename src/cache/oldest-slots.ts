/**
 * Number of oldest slots listed beyond those asked for, so that not every query needs a pass over the whole
 * table: 4096, or a 64th of the rows of a larger table.
 */
const lookahead = (rows: number): number => Math.max(4096, Math.floor(rows / 64));

/**
 * Finds the slots of a table with the oldest stamps, oldest first, the lowest slot among equals.
 *
 * The next thousands of slots are kept in a sorted list, so a pass over the table is needed only now and
 * then. The list takes 8 bytes per listed slot and is sorted by one number:
 *
 *     key = stamp · rows + slot, exact below 2⁵³
 */
export class OldestSlots {
  private readonly stamps: () => Int32Array;
  private readonly rows: number;
  /**
   * Ascending keys of all slots up to the last key, at the time of listing. A key is void if the stamp has
   * changed since.
   */
  private keys = new Float64Array(0);
  private head = 0;

  /**
   * @param rows  number of slots
   * @param stamps  returns the stamps, i32[rows]; called whenever slots are asked for
   */
  constructor(rows: number, stamps: () => Int32Array) {
    this.rows = rows;
    this.stamps = stamps;
  }

  /**
   * Returns the n oldest slots, oldest first.
   *
   * @param clock  number of finished steps; larger stamps belong to the running step
   */
  take(n: number, clock: number): Int32Array {
    const wanted = Math.min(n, this.rows);
    const listed = this.takeListed(wanted);
    if (listed.length === wanted) return listed;
    this.list(wanted, clock);
    return this.takeListed(wanted);
  }

  /** Must be called for every new stamp. Drops the list if the slot now belongs among the listed ones. */
  stamped(slot: number, stamp: number): void {
    if (this.keys.length > 0 && stamp * this.rows + slot <= this.keys.at(-1)!) this.clear();
  }

  /** Drops the list, after changes that `stamped` was not told of. */
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

  /** Lists the oldest slots anew in one pass over the table. */
  private list(wanted: number, clock: number): void {
    const { rows } = this;
    const stamps = this.stamps();
    const most = Math.min(rows, wanted + lookahead(rows));
    const kept = new Float64Array(Math.min(rows, 2 * most));
    let [count, limit] = [0, Number.POSITIVE_INFINITY];
    for (let slot = 0; slot < rows; slot++) {
      const key = stamps[slot]! * rows + slot;
      if (key >= limit) continue;
      kept[count++] = key;
      if (count < kept.length || count === most) continue;
      // The buffer holds twice as many keys as needed. When it is full, the larger half is dropped, and
      // larger keys are no longer accepted.
      kept.sort();
      count = most;
      limit = kept[most - 1]!;
    }
    let end = Math.min(count, most);
    const keys = kept.subarray(0, count).sort();
    // Slots of the running step are left out, because new stamps of this step would invalidate a list that
    // reached them.
    while (end > wanted && keys[end - 1]! >= (clock + 1) * rows) end -= 1;
    this.keys = keys.slice(0, end);
    this.head = 0;
  }
}
