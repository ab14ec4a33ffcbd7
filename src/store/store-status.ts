import type { ApproximateKind } from './embedding-table.ts';
import { type RefreshRate, readRefresh } from './refresh-file.ts';
import { type Staleness, staleness } from './staleness.ts';
import type { Store, StoreSnapshot } from './store.ts';
import type { StoredMigration } from './store-head.ts';

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
}

/** Progress of a migration. */
export interface MigrationProgress extends StoredMigration {
  /** Passages that have a vector of the new model. */
  readonly embedded: number;
  /** Share of all passages, in [0, 1]. */
  readonly share: number;
}

/** Work of the refresh. */
export interface RefreshProgress {
  /** Passages to embed by the current model. */
  readonly stale: number;
  /** Of these, passages that searches have found since the store's queue was last saved; they are embedded first. */
  readonly queue: number;
  /** Rate last measured; null before the first commit of a refresh. */
  readonly rate: RefreshRate | null;
  /** Time left at this rate, in seconds; null if there is no rate. */
  readonly secondsLeft: number | null;
}

/** Description of a store. */
export interface StoreStatus {
  /** Number of passages. */
  readonly passages: number;
  /** Size of the folder. */
  readonly bytes: number;
  /** Spaces, in the order in which they were added. */
  readonly spaces: readonly SpaceStatus[];
  /** Ages of the vectors that searches use; null before the first space. */
  readonly staleness: Staleness | null;
  /** Migration that is under way; null if there is none. */
  readonly migration: MigrationProgress | null;
  /** Work left for the refresh; null before the first space. */
  readonly refresh: RefreshProgress | null;
}

/** Describes a store as of its last commit. */
export async function storeStatus(store: Store): Promise<StoreStatus> {
  const snapshot = await store.snapshot();
  const { head, passages, embeddings } = snapshot;
  const total = await passages.count();
  const spaces: SpaceStatus[] = [];
  for (const { id, model, dimension, steps } of head.spaces) {
    const table = embeddings(id);
    const rows = await table.count();
    spaces.push({
      id,
      model,
      dimension,
      steps,
      current: id === head.current,
      rows,
      share: total === 0 ? 0 : rows / total,
      approximate: await table.approximate(),
    });
  }
  const ages = await staleness(snapshot);
  return {
    passages: total,
    bytes: await store.place.bytes(),
    spaces,
    staleness: ages,
    migration: migrationProgress(snapshot, spaces),
    refresh: ages && (await refreshProgress(store, ages)),
  };
}

function migrationProgress(
  { head: { migration } }: StoreSnapshot,
  spaces: readonly SpaceStatus[],
): MigrationProgress | null {
  const to = spaces.find(({ id }) => id === migration?.to);
  return migration && { ...migration, embedded: to?.rows ?? 0, share: to?.share ?? 0 };
}

async function refreshProgress(store: Store, { stale }: Staleness): Promise<RefreshProgress> {
  const { met, rate } = await readRefresh(store, store.head.current!);
  return {
    stale,
    queue: Math.min(met.length, stale),
    rate,
    secondsLeft: stale === 0 ? 0 : rate && stale / rate.passagesPerSecond,
  };
}
