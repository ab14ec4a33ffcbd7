/** Settings of a {@link Batcher}. */
export interface BatcherOptions<T> {
  /** Largest sum of the sizes of a batch's items. A larger item forms a batch of its own. */
  readonly most: number;
  /** Returns the size of an item. Default 1. */
  readonly sizeOf?: (value: T) => number;
}

interface Item<T, R> {
  readonly value: T;
  readonly key: string;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Dynamic batching: items that arrive while a batch is worked on form the next one. A single item never waits for others, and under
 * load a batch grows until the work keeps up.
 */
export class Batcher<T, R> {
  private readonly work: (values: readonly T[]) => Promise<readonly R[]>;
  private readonly most: number;
  private readonly sizeOf: (value: T) => number;
  private queue: Item<T, R>[] = [];
  private isWorking = false;

  /** @param work  makes the result of each value of a batch, in order */
  constructor(
    work: (values: readonly T[]) => Promise<readonly R[]>,
    { most, sizeOf = () => 1 }: BatcherOptions<T>,
  ) {
    this.work = work;
    this.most = most;
    this.sizeOf = sizeOf;
  }

  /** Number of items that wait for a batch. */
  get waiting(): number {
    return this.queue.length;
  }

  /**
   * Adds an item.
   *
   * @param key  items of equal keys may share a batch
   * @param signal  removes the item from the queue when it is aborted, so that nobody works for a client that has left
   */
  add(value: T, key: string, signal?: AbortSignal): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const item: Item<T, R> = { value, key, signal, resolve, reject };
      this.queue.push(item);
      signal?.addEventListener('abort', () => this.leave(item), { once: true });
      void this.run();
    });
  }

  private leave(item: Item<T, R>): void {
    const place = this.queue.indexOf(item);
    if (place === -1) return;
    this.queue.splice(place, 1);
    item.reject(item.signal!.reason);
  }

  private async run(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    while (this.queue.length > 0) {
      const batch = this.take();
      if (batch.length === 0) continue;
      await this.answer(batch);
    }
    this.isWorking = false;
  }

  /** Works on a batch. If that fails, each item is worked on alone, so that one that is refused does not fail the others. */
  private async answer(batch: readonly Item<T, R>[]): Promise<void> {
    try {
      const results = await this.work(batch.map(({ value }) => value));
      for (const [i, { resolve }] of batch.entries()) resolve(results[i]!);
    } catch (error) {
      if (batch.length === 1) batch[0]!.reject(error);
      else for (const item of batch) await this.answer([item]);
    }
  }

  /** Takes the oldest item and those that may share its batch. */
  private take(): Item<T, R>[] {
    const batch: Item<T, R>[] = [];
    const left: Item<T, R>[] = [];
    let size = 0;
    for (const item of this.queue) {
      const own = this.sizeOf(item.value);
      if (item.signal?.aborted) item.reject(item.signal.reason);
      else if (batch.length === 0 || (size + own <= this.most && item.key === batch[0]!.key)) {
        batch.push(item);
        size += own;
      } else left.push(item);
    }
    this.queue = left;
    return batch;
  }
}
