/**
 * Number of oldest slots listed beyond those asked for, so that not every query needs a pass over the whole
 * table: 4096, or a 16th of the rows of a larger table.
 */
const lookahead = (rows: number): number => Math.max(4096, Math.floor(rows / 16));

/**
 * Finds the slots of a table with the oldest stamps, oldest first, the lowest slot among equals.
 *
 * The next thousands of slots are kept in a list, 8 bytes each, so passes over the table are needed only now and then. The list is made by a
 * counting sort over the stamps, which takes 4 bytes for each step between the oldest and the youngest stamp. Slots are compared by one number:
 *
 *     key = stamp · rows + slot, exact below 2⁵³
 */
export class OldestSlots {
  private readonly stamps: () => Int32Array;
  private readonly rows: number;
  /** All slots up to the last key at the time of listing, in ascending order of their keys. */
  private slots = new Int32Array(0);
  /** Stamp of each listed slot at the time of listing. An entry is void if the stamp has changed since. */
  private listedStamps = new Int32Array(0);
  /** Key of the last listed slot; −∞ without a list. */
  private lastKey = Number.NEGATIVE_INFINITY;
  /** First entry that may be valid. */
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
    if (stamp * this.rows + slot <= this.lastKey) this.clear();
  }

  /** Drops the list, after changes that `stamped` was not told of. */
  clear(): void {
    this.slots = new Int32Array(0);
    this.listedStamps = new Int32Array(0);
    this.lastKey = Number.NEGATIVE_INFINITY;
    this.head = 0;
  }

  private takeListed(n: number): Int32Array {
    const { slots, listedStamps } = this;
    const stamps = this.stamps();
    const found = new Int32Array(n);
    let count = 0;
    for (let at = this.head; at < slots.length && count < n; at++) {
      const slot = slots[at]!;
      if (stamps[slot] === listedStamps[at]) found[count++] = slot;
      else if (count === 0) this.head = at + 1;
    }
    return found.subarray(0, count);
  }

  /** Lists the oldest slots anew, by a counting sort over the stamps. */
  private list(wanted: number, clock: number): void {
    const { rows } = this;
    const stamps = this.stamps();
    const most = Math.min(rows, wanted + lookahead(rows));
    let [oldest, youngest] = [stamps[0]!, stamps[0]!];
    for (let slot = 1; slot < rows; slot++) {
      const stamp = stamps[slot]!;
      if (stamp < oldest) oldest = stamp;
      else if (stamp > youngest) youngest = stamp;
    }
    const counts = new Int32Array(youngest - oldest + 1);
    for (let slot = 0; slot < rows; slot++) counts[stamps[slot]! - oldest]! += 1;
    // Counts become the first place of each stamp.
    for (let [stamp, before] = [0, 0]; stamp < counts.length; stamp++) {
      const own = counts[stamp]!;
      counts[stamp] = before;
      before += own;
    }
    const slots = new Int32Array(most);
    const listedStamps = new Int32Array(most);
    for (let slot = 0; slot < rows; slot++) {
      const stamp = stamps[slot]!;
      const place = counts[stamp - oldest]!++;
      if (place >= most) continue;
      slots[place] = slot;
      listedStamps[place] = stamp;
    }
    // Slots of the running step are left out, because new stamps of this step would invalidate a list that
    // reached them.
    let end = most;
    while (end > wanted && listedStamps[end - 1]! > clock) end -= 1;
    this.slots = slots.subarray(0, end);
    this.listedStamps = listedStamps.subarray(0, end);
    this.lastKey = end === 0 ? Number.NEGATIVE_INFINITY : listedStamps[end - 1]! * rows + slots[end - 1]!;
    this.head = 0;
  }
}
