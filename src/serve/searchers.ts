import { totalmem } from 'node:os';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { Store } from '../store/store.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { UsageError } from '../util/errors.ts';

/** Share of the machine's memory that the vectors of a space beside the current one may take. */
const OTHER_SHARE = 0.15;

/** Searchers of a store: that of the current space, and at most one of another space, loaded when it is asked for. */
export class Searchers {
  /** Searcher of the current space. */
  readonly current: StoreSearcher;
  private readonly store: Store;
  private readonly compute: ComputeOptions;
  private other: { readonly space: string; readonly searcher: StoreSearcher } | undefined;

  constructor(store: Store, compute: ComputeOptions) {
    this.store = store;
    this.compute = compute;
    this.current = new StoreSearcher(store, compute);
  }

  /**
   * Returns the searcher of a space. The one of another space than the current is disposed of when a third is asked for, so that calls
   * must follow each other.
   *
   * @param space  id of the space; undefined for the current one
   * @throws UsageError if the store has no such space
   */
  async of(space: string | undefined): Promise<StoreSearcher> {
    const { current, spaces } = this.store.head;
    if (space === undefined || space === current) return this.current;
    if (!this.store.space(space)) {
      const known = spaces.map(({ id, model }) => `${id} (${model})`).join(', ');
      throw new UsageError(`the store has no embedding space ${space}`, { help: `known: ${known}` });
    }
    if (this.other?.space !== space) {
      await this.other?.searcher.dispose();
      const memoryBytes = OTHER_SHARE * totalmem();
      this.other = {
        space,
        searcher: new StoreSearcher(this.store, { ...this.compute, space, memoryBytes }),
      };
    }
    return this.other.searcher;
  }

  /** Reads what others have committed, and loads it for the current space. Searches go on meanwhile. */
  async reload(): Promise<void> {
    await this.current.reload();
  }

  /** Frees what was loaded of a space that is gone or has become the current one. No call must use it meanwhile. */
  async freeUnused(): Promise<void> {
    const { other } = this;
    if (!other || (other.space !== this.store.head.current && this.store.space(other.space))) return;
    this.other = undefined;
    await other.searcher.dispose();
  }

  /** Frees all models and vectors. */
  async dispose(): Promise<void> {
    await this.current.dispose();
    await this.other?.searcher.dispose();
  }
}
