import { UndriftError } from './errors.ts';

/**
 * Resource with many users at once, which is changed or freed only while nobody uses it.
 *
 * A change waits until the users that have begun are done; users that come later wait for the change. Work on a resource must
 * therefore not ask for the same resource again.
 */
export class SharedResource<T> {
  private readonly value: T;
  private readonly dispose: (value: T) => Promise<void>;
  private users = 0;
  private isFreed = false;
  /** Changes that have begun or wait; new users come after them. */
  private changing: Promise<unknown> | undefined;
  /** Called when the last user has left. */
  private whenUnused: (() => void) | undefined;

  /** @param dispose  frees the resource */
  constructor(value: T, dispose: (value: T) => Promise<void> = async () => {}) {
    this.value = value;
    this.dispose = dispose;
  }

  /**
   * Takes the resource for a time that its user ends by calling `release`.
   *
   * @throws UndriftError if the resource has been freed
   */
  async acquire(): Promise<{ readonly value: T; readonly release: () => void }> {
    while (this.changing) await this.changing;
    if (this.isFreed) throw new UndriftError('the resource has been freed');
    this.users += 1;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      this.users -= 1;
      if (this.users === 0) this.whenUnused?.();
    };
    return { value: this.value, release };
  }

  /**
   * Works with the resource; it is neither changed nor freed meanwhile.
   *
   * @throws UndriftError if the resource has been freed
   */
  async use<R>(work: (value: T) => R | Promise<R>): Promise<R> {
    const { value, release } = await this.acquire();
    try {
      return await work(value);
    } finally {
      release();
    }
  }

  /**
   * Changes the resource while nobody uses it.
   *
   * @throws UndriftError if the resource has been freed
   */
  async change<R>(work: (value: T) => R | Promise<R>): Promise<R> {
    return await this.alone(async () => {
      if (this.isFreed) throw new UndriftError('the resource has been freed');
      return await work(this.value);
    });
  }

  /** Frees the resource when the last user has left. A second call does nothing. */
  async free(): Promise<void> {
    await this.alone(async () => {
      if (this.isFreed) return;
      this.isFreed = true;
      await this.dispose(this.value);
    });
  }

  /** Works after earlier changes and present users. */
  private alone<R>(work: () => Promise<R>): Promise<R> {
    const result = (async () => {
      await this.changing;
      if (this.users > 0) {
        await new Promise<void>((resolve) => {
          this.whenUnused = resolve;
        });
        this.whenUnused = undefined;
      }
      return await work();
    })();
    const settled: Promise<unknown> = result
      .catch(() => {})
      .then(() => {
        if (this.changing === settled) this.changing = undefined;
      });
    this.changing = settled;
    return result;
  }
}
