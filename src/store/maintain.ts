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
