import type { Progress } from '../util/progress.ts';
import type { ApproximateKind } from './embedding-table.ts';
import type { Store } from './store.ts';

/** Removes passages and their vectors by their ids, and returns how many there were. */
export async function removePassages(store: Store, ids: readonly string[]): Promise<number> {
  return await store.commit(async ({ head, passages, embeddings }) => {
    const known = await passages.known(ids);
    const pids = [...known.values()].map(({ pid }) => pid);
    await passages.remove(pids);
    for (const { id } of head.spaces) await embeddings(id).remove(pids);
    return pids.length;
  });
}

/** Rows of one partition of the index for approximate search, about. */
const PARTITION_ROWS = 800;

/**
 * Builds the index for approximate search over the vectors of a space. Vectors that are added later are searched beside it, and
 * become part of it when the store is optimised.
 */
export async function buildApproximateIndex(
  store: Store,
  space: string,
  kind: ApproximateKind,
): Promise<void> {
  await store.optimize();
  await store.commit(async ({ embeddings }) => {
    const table = embeddings(space);
    const partitions = Math.max(1, Math.round((await table.count()) / PARTITION_ROWS));
    await table.buildApproximate(kind, partitions);
  });
}

/**
 * Builds the index for approximate search of a space if another space has one, of the same kind. Nothing is done where the space has an
 * index already.
 *
 * @param from  id of the space whose index decides
 * @param to  id of the space to build it for
 * @param onProgress  called before and after the work
 * @returns  kind that was built; undefined if none was
 */
export async function buildSameIndex(
  store: Store,
  {
    from,
    to,
    onProgress,
  }: { from: string; to: string; onProgress?: ((progress: Progress) => void) | undefined },
): Promise<ApproximateKind | undefined> {
  const { embeddings } = await store.snapshot();
  const kind = await embeddings(from).approximate();
  const total = await embeddings(to).count();
  if (kind === undefined || total === 0 || (await embeddings(to).approximate()) !== undefined)
    return undefined;
  const report = (done: number) =>
    onProgress?.({ stage: `build index (${kind})`, done, total, unit: 'passages' });
  report(0);
  await buildApproximateIndex(store, to, kind);
  report(total);
  return kind;
}
