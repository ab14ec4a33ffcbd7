import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApproximateKind } from './embedding-table.ts';
import type { Store } from './store.ts';

/** Description of one embedding space of a store. */
export interface SpaceStatus {
  /** Id of the space. */
  readonly id: string;
  /** Name of the model. */
  readonly model: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** Training steps of the encoder. */
  readonly steps: number;
  /** Whether queries are embedded in this space. */
  readonly current: boolean;
  /** Number of embeddings. */
  readonly rows: number;
  /** Share of the passages that have an embedding, in [0, 1]. */
  readonly share: number;
  /** Index for approximate search; undefined if there is none. */
  readonly approximate: ApproximateKind | undefined;
  /** Times of the oldest and of the newest embedding, in milliseconds since 1970; undefined where there is none. */
  readonly oldest: number | undefined;
  readonly newest: number | undefined;
}

/** Description of a store. */
export interface StoreStatus {
  /** Number of passages. */
  readonly passages: number;
  /** Size of the folder. */
  readonly bytes: number;
  /** Spaces, in the order in which they were added. */
  readonly spaces: readonly SpaceStatus[];
}

/** Describes a store as of its last commit. */
export async function storeStatus(store: Store): Promise<StoreStatus> {
  const { head, passages, embeddings } = await store.snapshot();
  const total = await passages.count();
  const spaces: SpaceStatus[] = [];
  for (const { id, model, dimension, steps } of head.spaces) {
    const table = embeddings(id);
    const rows = await table.count();
    const { oldest, newest } = await table.times();
    spaces.push({
      id,
      model,
      dimension,
      steps,
      current: id === head.current,
      rows,
      share: total === 0 ? 0 : rows / total,
      approximate: await table.approximate(),
      oldest,
      newest,
    });
  }
  return { passages: total, bytes: await folderBytes(store.folder), spaces };
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // A writer may remove files meanwhile.
    const { size } = await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }));
    bytes += size;
  }
  return bytes;
}
