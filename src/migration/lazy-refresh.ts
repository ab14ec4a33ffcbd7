import type { RefreshRate } from '../store/refresh-file.ts';
import { checkOptions, type GivenOptions, type OptionTable, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { RefreshQueue } from './refresh-queue.ts';
import type { EmbeddedPart, RowKeeper } from './row-keeper.ts';

/** Options of a {@link LazyRefresh}. */
export const REFRESH_OPTIONS = {
  /** Share of the time to work, in (0, 1]; the rest is left to searches. Default 1. */
  workShare: {
    type: 'number',
    above: 0,
    max: 1,
    default: 1,
    help: 'share of the time in which stale passages are embedded; the rest is left to searches',
  },
  /** Largest number of passages to embed per minute. Default no limit. */
  rowsPerMinute: {
    type: 'number',
    above: 0,
    help: 'largest number of passages to embed per minute (default: no limit)',
  },
  /** Order of the passages that no search has found: by their numbers, or the largest drift first. Default `numbers`. */
  refreshOrder: {
    type: 'choice',
    choices: ['numbers', 'drift'],
    default: 'numbers',
    help: 'order of the passages that no search has found: by number, or by the distance that the corrector moves them',
  },
} as const satisfies OptionTable;

/** Settings of a {@link LazyRefresh}. */
export interface RefreshOptions extends GivenOptions<typeof REFRESH_OPTIONS> {
  /** Largest number of passages of one commit. Default as many as the model embeds in two seconds, from 512 to 16,384. */
  readonly commitRows?: number | undefined;
  /** Time after which what is embedded is committed, in milliseconds, rests included. Default 10,000. */
  readonly commitMs?: number | undefined;
  /**
   * Time of one piece of work, about, in milliseconds. Searches that compete for the processor are slower for so long. Default 200, or
   * 5,000 with a work share of 1.
   */
  readonly pieceMs?: number | undefined;
  /** Runs each piece of work apart from other work with the same model or store. Default: at once. */
  readonly exclusively?: (<T>(work: () => Promise<T>) => Promise<T>) | undefined;
  /** Called after every commit. */
  readonly onCommit?: ((status: RefreshStatus) => void) | undefined;
}

const CALLER_OPTIONS = [
  'commitRows',
  'commitMs',
  'pieceMs',
  'exclusively',
  'onCommit',
] as const satisfies readonly (keyof RefreshOptions)[];

/** State of a {@link LazyRefresh}. */
export interface RefreshStatus {
  /** Whether it is working now. */
  readonly working: boolean;
  /** Passages left to embed. */
  readonly stale: number;
  /** Of these, passages that searches have found. */
  readonly queue: number;
  /** Passages embedded since the start. */
  readonly embedded: number;
  /** Rate last measured; null before the first commit. */
  readonly rate: RefreshRate | null;
}

/** Settings of one {@link LazyRefresh.run}. */
export interface RefreshRun {
  /** Largest number of passages to embed. Default all. */
  readonly most?: number | undefined;
  /** Aborting ends the work after the current piece; what is embedded is committed. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every commit, with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Rows of the first piece, before the speed of the model is known. */
const FIRST_PIECE = 16;
/** Passages of one commit by default, at least and at most, and the time in which the model embeds them. */
const COMMIT_ROWS = [512, 16_384] as const;
const COMMIT_WORK_MS = 2000;
/** Rows of a piece are at most what the budget of rows allows in this time, so that a small budget is spent evenly. */
const BUDGET_MS = 10_000;
/** Commits between two compactions. */
const TIDY_EVERY = 64;

/**
 * Embeds stale rows again, within a budget of time or of rows. Rows that searches have found come first, in the order of count · drift:
 * those that are wrong most often, by most. The counts are saved with every commit and survive the end of the process.
 *
 * Embeddings of earlier checkpoints are updated when they are met in the Negative Cache too (Lindgren et al., 2021); there the rows that
 * are sampled as negatives are the ones met.
 */
export class LazyRefresh {
  private readonly keeper: RowKeeper;
  private readonly options: ReturnType<typeof valuesOf>;
  private readonly queue = new RefreshQueue();
  private loaded: Promise<void> | undefined;
  private embedded = 0;
  private commits = 0;
  private working = false;
  private rate: RefreshRate | null = null;
  /** Rows that the model embeds in a millisecond; undefined before the first piece. */
  private rowsPerMs: number | undefined;

  constructor(keeper: RowKeeper, options: RefreshOptions = {}) {
    checkOptions(REFRESH_OPTIONS, options, CALLER_OPTIONS);
    this.keeper = keeper;
    this.options = valuesOf(options);
  }

  /** Space that rows are embedded in. */
  get space(): string {
    return this.keeper.space;
  }

  get status(): RefreshStatus {
    const { working, queue, embedded, rate } = this;
    return { working, stale: queue.size, queue: queue.metSize, embedded, rate };
  }

  /** Counts rows that a search has found, so that the stale ones among them are embedded first. */
  notice(rows: Iterable<number>): void {
    this.queue.notice(rows);
  }

  /** Reads which rows are stale, and the counts of earlier processes. */
  async load(): Promise<void> {
    this.loaded ??= this.readQueue();
    await this.loaded;
  }

  /** Reads again which rows are stale, after other changes of the store. */
  async reload(): Promise<void> {
    await this.load();
    await this.apart(() => this.readStale());
  }

  /**
   * Embeds stale rows until none is left, `most` are embedded or the signal is aborted.
   *
   * @returns  number of rows embedded, and of those that are still stale
   */
  async run({ most = Number.POSITIVE_INFINITY, signal, onProgress }: RefreshRun = {}): Promise<{
    embedded: number;
    stale: number;
  }> {
    await this.load();
    const total = onProgress ? await this.keeper.count() : 0;
    let taken = 0;
    let embedded = 0;
    this.working = true;
    try {
      while (!signal?.aborted && taken < most && this.queue.size > 0) {
        const part = await this.part(most - taken, signal);
        taken += part.rows;
        embedded += part.stored;
        onProgress?.({ stage: 'embed', done: total - this.queue.size, total, unit: 'passages' });
        // Others may have added stale passages meanwhile. Without progress there is nothing more to be done about those that are left.
        if (this.queue.size === 0 && part.stored > 0) await this.apart(() => this.readStale());
      }
    } finally {
      this.working = false;
    }
    if (this.queue.metSize > 0) await this.save();
    this.options.onCommit?.(this.status);
    if (embedded > 0) await this.apart(() => this.keeper.tidy());
    return { embedded, stale: this.queue.size };
  }

  /** Saves the counts without embedding anything. */
  async save(): Promise<void> {
    const { space } = this.keeper;
    await this.keeper.save({ space, met: this.queue.record(), rate: this.rate });
  }

  /** Embeds the first rows of the queue piece by piece, with rests between, and commits them. */
  private async part(
    most: number,
    signal: AbortSignal | undefined,
  ): Promise<{ rows: number; stored: number }> {
    const { commitMs } = this.options;
    const startMs = performance.now();
    const parts: EmbeddedPart[] = [];
    await this.apart(() => this.measureDrift());
    const rows = this.queue.first(Math.min(this.commitRows(), most));
    const found = await this.apart(() => this.keeper.read(rows));
    // Rows that are not found are no longer stale, or no longer there.
    const present = new Set(found.map(({ pid }) => pid));
    const done = rows.filter((row) => !present.has(row));
    let restMs = this.restAfter(performance.now() - startMs, 0);
    for (let start = 0; start < found.length; ) {
      const passages = found.slice(start, start + this.pieceRows());
      const pieceStartMs = performance.now();
      const { vectors, workMs } = await this.apart(async () => {
        const beganMs = performance.now();
        const vectors = await this.keeper.embed(passages);
        return { vectors, workMs: performance.now() - beganMs };
      });
      parts.push({ passages, vectors });
      done.push(...passages.map(({ pid }) => pid));
      start += passages.length;
      this.measureSpeed(passages.length, workMs);
      // Time that other work took is rest.
      restMs += this.restAfter(workMs, passages.length) - (performance.now() - pieceStartMs - workMs);
      if (signal?.aborted || performance.now() - startMs + restMs > commitMs || start >= found.length) break;
      await rest(restMs, signal);
      restMs = 0;
      if (signal?.aborted) break;
    }
    const commitStartMs = performance.now();
    const stored = parts.length === 0 ? 0 : await this.apart(() => this.keeper.put(parts));
    this.queue.remove(done);
    this.embedded += stored;
    this.commits += 1;
    if (this.commits % TIDY_EVERY === 0) await this.apart(() => this.keeper.tidy());
    // The rest after the last piece and that after the commit are taken together.
    const restsMs = Math.max(0, restMs) + this.restAfter(performance.now() - commitStartMs, 0);
    const seconds = Math.max(1, performance.now() - startMs + restsMs) / 1000;
    if (stored > 0) this.rate = { passagesPerSecond: stored / seconds, measured: Date.now() };
    await this.save();
    this.options.onCommit?.(this.status);
    await rest(restsMs, signal);
    return { rows: done.length, stored };
  }

  /** Learns from a piece how fast the model is. A piece of short texts says little, so that the next is at most four times as large. */
  private measureSpeed(rows: number, workMs: number): void {
    const found = rows / Math.max(workMs, 0.1);
    const most = this.rowsPerMs === undefined ? found : Math.max(4 * this.rowsPerMs, 1e-4);
    this.rowsPerMs = Math.min(found, most);
  }

  private commitRows(): number {
    const [least, largest] = COMMIT_ROWS;
    const fast = Math.round((this.rowsPerMs ?? 0) * COMMIT_WORK_MS);
    return this.options.commitRows ?? Math.min(largest, Math.max(least, fast));
  }

  private pieceRows(): number {
    const { workShare, rowsPerMinute, pieceMs = workShare === 1 ? 5000 : 200 } = this.options;
    const rows = this.rowsPerMs === undefined ? FIRST_PIECE : this.rowsPerMs * pieceMs;
    const budget = rowsPerMinute === undefined ? rows : (rowsPerMinute / 60_000) * BUDGET_MS;
    return Math.max(1, Math.floor(Math.min(rows, budget)));
  }

  /** Time to rest after a piece of work, in milliseconds. */
  private restAfter(workMs: number, rows: number): number {
    const { workShare, rowsPerMinute } = this.options;
    const forTime = workMs * (1 / workShare - 1);
    const forRows = rowsPerMinute === undefined ? 0 : (rows * 60_000) / rowsPerMinute - workMs;
    return Math.max(0, forTime, forRows);
  }

  private async measureDrift(): Promise<void> {
    const rows = this.queue.withoutDrift();
    if (rows.length > 0) this.queue.setDrift(rows, await this.keeper.drift(rows));
  }

  private async readQueue(): Promise<void> {
    await this.apart(() => this.readStale());
    const { met, rate } = await this.keeper.load();
    this.queue.restore(met);
    this.rate = rate;
  }

  private async readStale(): Promise<void> {
    const rows = await this.keeper.stale();
    if (this.options.refreshOrder === 'numbers') return this.queue.reset(rows);
    const drift = await this.keeper.drift(rows);
    const order = Array.from(rows.keys()).sort((a, b) => drift[b]! - drift[a]! || a - b);
    this.queue.reset(order.map((i) => rows[i]!));
  }

  private apart<T>(work: () => Promise<T>): Promise<T> {
    return this.options.exclusively ? this.options.exclusively(work) : work();
  }
}

const valuesOf = (options: RefreshOptions) => {
  const { commitRows, commitMs = 10_000, pieceMs, exclusively, onCommit, ...others } = options;
  return { ...optionValues(REFRESH_OPTIONS, others), commitRows, commitMs, pieceMs, exclusively, onCommit };
};

/** Waits; an aborted signal ends the wait. */
async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms < 1 || signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(ended, ms);
    signal?.addEventListener('abort', ended, { once: true });
    function ended() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', ended);
      resolve();
    }
  });
}
