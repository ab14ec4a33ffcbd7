import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { buildSameIndex } from '../store/maintain.ts';
import { type Store, spaceOf } from '../store/store.ts';
import type { Progress } from '../util/progress.ts';
import { LazyRefresh, type RefreshOptions } from './lazy-refresh.ts';
import { storeKeeper } from './row-keeper.ts';

/** Settings of {@link backfill}. */
export interface BackfillOptions extends RefreshOptions, ComputeOptions {
  /** Share of the passages at which to stop, in [0, 1]. Default 1: all. */
  readonly until?: number | undefined;
  /** Aborting ends the work; what is embedded is committed. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every commit, and around the building of an index, with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Embeds passages that have no vector of a model, by a {@link LazyRefresh}: those that searches have found first, the others in the order
 * of their numbers. A backfill that was stopped goes on when it is called again. When the model of a migration has embedded all passages,
 * its vectors get an index for approximate search of the kind that the former vectors have.
 *
 * @param retriever  model of one of the store's spaces
 * @returns  number of passages embedded, and of those that are still missing
 */
export async function backfill(
  store: Store,
  retriever: Retriever,
  { until = 1, signal, onProgress, device, threads, ...refresh }: BackfillOptions = {},
): Promise<{ embedded: number; missing: number }> {
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const keeper = storeKeeper(store, retriever, spaceOf(retriever, '').id, compute);
  const work = new LazyRefresh(keeper, refresh);
  await work.load();
  const total = await keeper.count();
  const most = Math.ceil(until * total) - (total - work.status.stale);
  const { embedded, stale } = await work.run({ most, signal, onProgress });
  const { migration } = store.head;
  if (stale === 0 && migration?.to === keeper.space && !signal?.aborted) {
    await buildSameIndex(store, { from: migration.from, to: migration.to, onProgress });
  }
  return { embedded, missing: stale };
}
