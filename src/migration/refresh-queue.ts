import { PassageSet } from '../store/passage-set.ts';
import type { MetPassage } from '../store/refresh-file.ts';

/** Order of the rows that no search has found. */
export type RefreshOrder = 'numbers' | 'drift';

interface Met {
  count: number;
  /** Undefined until it is computed. */
  drift: number | undefined;
}

/** Most rows whose counts are kept. */
const MOST_MET = 65_536;

/**
 * Order in which stale rows are embedded again: rows that searches have found by descending count · drift, then all others by drift or
 * by number.
 */
export class RefreshQueue {
  private readonly met = new Map<number, Met>();
  private stale = new PassageSet(0);
  private others: readonly number[] = [];
  /** First of the others that may still be stale. */
  private next = 0;

  /** Number of stale rows. */
  get size(): number {
    return this.stale.size;
  }

  /** Number of stale rows that searches have found. */
  get metSize(): number {
    return this.met.size;
  }

  /**
   * Sets the stale rows, in the order in which those that no search has found are taken. Rows that are no longer stale lose their counts.
   */
  reset(rows: readonly number[]): void {
    let largest = -1;
    for (const row of rows) if (row > largest) largest = row;
    this.stale = new PassageSet(largest + 1);
    for (const row of rows) this.stale.add(row);
    for (const row of this.met.keys()) if (!this.stale.has(row)) this.met.delete(row);
    this.others = rows;
    this.next = 0;
  }

  /** Adds counts of an earlier process. */
  restore(rows: readonly MetPassage[]): void {
    for (const { pid, count, drift } of rows) if (this.stale.has(pid)) this.met.set(pid, { count, drift });
  }

  /** Counts rows that a search has found. Rows that are not stale are ignored. */
  notice(rows: Iterable<number>): void {
    for (const row of rows) {
      if (!this.stale.has(row)) continue;
      const met = this.met.get(row);
      if (met) met.count += 1;
      else this.met.set(row, { count: 1, drift: undefined });
    }
    if (this.met.size > MOST_MET) this.forgetRarest();
  }

  /** Lists rows that searches have found and whose drift is not known. */
  withoutDrift(): number[] {
    return [...this.met].flatMap(([row, { drift }]) => (drift === undefined ? row : []));
  }

  setDrift(rows: readonly number[], drift: readonly number[]): void {
    for (const [i, row] of rows.entries()) {
      const met = this.met.get(row);
      if (met) met.drift = drift[i]!;
    }
  }

  /** Returns the next rows. They stay in the queue until {@link RefreshQueue.remove}. */
  first(rows: number): number[] {
    const priority = ({ count, drift = 0 }: Met) => count * drift;
    const taken = [...this.met]
      .sort(([a, x], [b, y]) => priority(y) - priority(x) || y.count - x.count || a - b)
      .slice(0, rows)
      .map(([row]) => row);
    for (let i = this.next; i < this.others.length && taken.length < rows; i++) {
      const row = this.others[i]!;
      if (this.stale.has(row) && !this.met.has(row)) taken.push(row);
    }
    return taken;
  }

  /** Removes rows that have been worked on. */
  remove(rows: readonly number[]): void {
    for (const row of rows) {
      this.stale.delete(row);
      this.met.delete(row);
    }
    while (this.next < this.others.length && !this.stale.has(this.others[this.next]!)) this.next += 1;
  }

  /** Returns the counts, to be saved. */
  record(): MetPassage[] {
    return [...this.met].map(([pid, { count, drift = 0 }]) => ({ pid, count, drift }));
  }

  private forgetRarest(): void {
    const rarest = [...this.met].sort(([, a], [, b]) => a.count - b.count).slice(0, MOST_MET / 4);
    for (const [row] of rarest) this.met.delete(row);
  }
}
