import type { StoredPassage } from './passage-table.ts';
import { type PassageTable, type ShownRow, shownPassage } from './passage-table.ts';

/** Memory of a cache, in bytes, about. */
const BYTES = 128 << 20;
/** Memory of a row beside its texts, about. */
const ROW_BYTES = 256;

const bytesOf = ({ id, title, text, metadata }: ShownRow): number =>
  ROW_BYTES + 2 * (id.length + title.length + text.length + (metadata?.length ?? 0));

/** Passages of one version of their table that have been read lately. */
export class PassageCache {
  private readonly table: PassageTable;
  private readonly most: number;
  /** Rows by number; those that were not read for the longest time come first. */
  private readonly rows = new Map<number, ShownRow>();
  private bytes = 0;

  /** @param most  memory that the rows may take, in bytes, about */
  constructor(table: PassageTable, most = BYTES) {
    this.table = table;
    this.most = most;
  }

  /** Reads passages by their numbers, in the order asked for; numbers that do not exist are left out. */
  async read(pids: readonly number[]): Promise<StoredPassage[]> {
    const found = new Map<number, ShownRow>();
    for (const pid of pids) {
      const row = this.rows.get(pid);
      if (!row) continue;
      found.set(pid, row);
      // Now the latest.
      this.rows.delete(pid);
      this.rows.set(pid, row);
    }
    for (const row of await this.table.readRows(pids.filter((pid) => !found.has(pid)))) {
      found.set(row.pid, row);
      this.add(row);
    }
    return pids.flatMap((pid) => {
      const row = found.get(pid);
      return row ? shownPassage(row) : [];
    });
  }

  private add(row: ShownRow): void {
    if (this.rows.has(row.pid)) return;
    this.rows.set(row.pid, row);
    this.bytes += bytesOf(row);
    for (const [pid, oldest] of this.rows) {
      if (this.bytes <= this.most) break;
      this.rows.delete(pid);
      this.bytes -= bytesOf(oldest);
    }
  }
}
