/** Time over which a rate is measured. */
const WINDOW_MS = 60_000;

/** Rows per second over the last minute. */
export class Rate {
  private readonly events: { readonly time: number; readonly rows: number }[] = [];
  private readonly start = performance.now();

  /** Counts rows that were done just now. */
  add(rows: number): void {
    this.events.push({ time: performance.now(), rows });
  }

  /** Rows per second, over the last minute or since the beginning. */
  get rowsPerSecond(): number {
    const now = performance.now();
    while (this.events.length > 0 && now - this.events[0]!.time > WINDOW_MS) this.events.shift();
    const rows = this.events.reduce((sum, event) => sum + event.rows, 0);
    return (1000 * rows) / Math.max(1000, Math.min(WINDOW_MS, now - this.start));
  }
}
