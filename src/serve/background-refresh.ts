import { LazyRefresh, type RefreshOptions, type RefreshStatus } from '../migration/lazy-refresh.ts';
import { type ModelUse, storeKeeper } from '../migration/row-keeper.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { Store } from '../store/store.ts';
import { UndriftError } from '../util/errors.ts';

/** State of the refresh of a server. */
export interface LiveRefresh extends RefreshStatus {
  /** Message of the failure that it waits after; null if there is none. */
  readonly failure: string | null;
}

/** Parts that a {@link BackgroundRefresh} works with. */
export interface RefreshParts {
  readonly store: Store;
  /** Works with the model of the current space. */
  readonly useModel: <T>(work: (retriever: Retriever, space: string) => Promise<T>) => Promise<T>;
  /** Runs work apart from the other work of the thread. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  readonly compute: ComputeOptions;
  readonly options: RefreshOptions;
  /** Called after every change of the state. */
  readonly onStatus: (status: LiveRefresh) => void;
}

/** Time to wait after a failure, such as a full disk, in milliseconds. */
const RETRY_MS = 10_000;

/** Refreshes the current space of a store for as long as a server runs, whatever other processes change meanwhile. */
export class BackgroundRefresh {
  private readonly parts: RefreshParts;
  private readonly running: Promise<void>;
  private refresh: LazyRefresh | undefined;
  /** Aborts the work in a space that is no longer current, and all work at the end. */
  private controller = new AbortController();
  private failure: string | null = null;
  private isClosed = false;
  /** Whether the store has changed since the last look at it. */
  private hasChanged = true;
  private wakeUp = () => {};

  constructor(parts: RefreshParts) {
    this.parts = parts;
    this.running = this.loop();
  }

  /** Counts passages that searches have found. */
  notice(pids: readonly number[]): void {
    this.refresh?.notice(pids);
    this.report();
  }

  /** Looks for changes that others have made. */
  async look(): Promise<void> {
    await this.parts.store.reload();
    this.hasChanged = true;
    if (this.refresh && this.refresh.space !== this.parts.store.head.current) this.controller.abort();
    this.wakeUp();
  }

  /** Ends the work; what is embedded is committed. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.controller.abort();
    this.wakeUp();
    await this.running;
  }

  private async loop(): Promise<void> {
    while (!this.isClosed) {
      try {
        this.hasChanged = false;
        await this.pass();
        this.failure = null;
      } catch (error) {
        this.failure = error instanceof Error ? error.message : String(error);
      }
      this.report();
      // A change during the pass is looked at in the next.
      if (this.failure !== null) await this.sleep(RETRY_MS);
      else if (!this.hasChanged) await this.sleep();
    }
  }

  /** Embeds what is stale now. */
  private async pass(): Promise<void> {
    const { store, exclusively, compute, options, useModel } = this.parts;
    const { current } = store.head;
    if (current === null || this.isClosed) return;
    this.controller = new AbortController();
    if (this.refresh?.space !== current) {
      const useCurrent: ModelUse = (work) =>
        useModel(async (retriever, space) => {
          if (space !== current) throw new UndriftError(`the store is in another space now: ${space}`);
          return await work(retriever);
        });
      const keeper = storeKeeper(store, useCurrent, current, compute);
      this.refresh = new LazyRefresh(keeper, { ...options, exclusively, onCommit: () => this.report() });
      await this.refresh.load();
    } else await this.refresh.reload();
    this.report();
    if (this.refresh.status.stale === 0) return;
    // Loading and compiling the model is not part of the work that the rests are measured by.
    await exclusively(() => useModel((retriever) => retriever.encode('document', ['warm up'], compute)));
    await this.refresh.run({ signal: this.controller.signal });
  }

  private report(): void {
    const { refresh, failure } = this;
    if (refresh) this.parts.onStatus({ ...refresh.status, failure });
  }

  /** Waits until it is woken up, or for a time. */
  private async sleep(ms?: number): Promise<void> {
    if (this.isClosed) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = () => {};
  }
}
