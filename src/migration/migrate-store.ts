import type { Corrector } from '../correctors/corrector.ts';
import { describeCorrector, saveCorrector } from '../correctors/corrector-folder.ts';
import { joinTitle } from '../data/corpus.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { ensureCanaries } from '../store/canaries.ts';
import { buildSameIndex } from '../store/maintain.ts';
import { stalePassages } from '../store/staleness.ts';
import type { Store, StoreSnapshot } from '../store/store.ts';
import type { Adapter, StoredBridge, StoredSpace } from '../store/store-head.ts';
import { removeEncoder, saveEncoder } from '../store/stored-encoder.ts';
import { bridgeFolder } from '../store/vector-source.ts';
import { UsageError } from '../util/errors.ts';
import { type BackfillOptions, backfill } from './backfill.ts';
import {
  type ChosenCorrector,
  chooseCorrector,
  embedSample,
  type MigrationOptions,
} from './choose-corrector.ts';
import { spacesOf } from './plan-migration.ts';
import { putParts } from './row-keeper.ts';

/** Settings of {@link startMigration}. */
export interface StartOptions extends MigrationOptions {
  /** Vectors that a corrector moves. Default `documents`. */
  readonly adapter?: Adapter | undefined;
}

/** Correctors that a migration begins with. */
export interface StartedMigration {
  readonly adapter: Adapter;
  /** Moves vectors of passages to the new space. */
  readonly documents: ChosenCorrector;
  /** Moves vectors of queries to the former space. */
  readonly queries: ChosenCorrector;
}

/**
 * Starts a migration: fits correctors between the vectors of the store and those of the new model. From then on queries are embedded by
 * the new model.
 *
 * `documents`: the new space becomes the current one. Passages without a vector of it are found by their old vectors, moved by a
 * corrector, until {@link backfill} has embedded them. `queries`: the former space stays the current one, and queries are moved to it.
 * No vector of a passage is needed but those of the sample. A migration of queries is continued by one of documents to the same model.
 *
 * @returns  facts about the correctors
 * @throws UsageError if the store has no vectors, a migration is under way, the model is that of the store, or vectors are not of
 *   unit norm
 */
export async function startMigration(
  store: Store,
  retriever: Retriever,
  options: StartOptions = {},
): Promise<StartedMigration> {
  const { adapter = 'documents' } = options;
  const snapshot = await store.snapshot();
  const { migration } = snapshot.head;
  const continues =
    migration?.adapter === 'queries' &&
    adapter === 'documents' &&
    migration.to === embeddingSpaceId(retriever);
  if (migration && !continues) {
    throw new UsageError(`a migration to ${migration.to} is under way`, {
      help: 'finish it with undrift migrate cutover, or undo it with undrift migrate rollback',
    });
  }
  const [from, to] = spacesOf(store, retriever, options);
  const sampled = await embedSample(snapshot, from, retriever, options);
  await saveEncoder(store, retriever, to.id);
  const texts = sampled.passages.map(({ title, text }) => joinTitle(title, text));
  const { device, threads } = options;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  await ensureCanaries(store, to.id, retriever, { texts, compute });
  const fit = async (direction: Adapter) => {
    const { corrector, heldOut: _, ...chosen } = await chooseCorrector(sampled, from, to, options, direction);
    const ends = direction === 'documents' ? [from, to] : [to, from];
    const bridge = await saveBridge(store, corrector, chosen, ends as [StoredSpace, StoredSpace]);
    await corrector.dispose();
    return { chosen, bridge };
  };
  const [documents, queries] = [await fit('documents'), await fit('queries')];
  const { passages, fresh: vectors } = sampled;
  await store.commit(async (draft) => {
    await draft.addSpace(to);
    await putParts(draft, { space: to.id, steps: store.space(to.id)?.steps ?? to.steps }, [
      { passages, vectors },
    ]);
    const others = draft.head.bridges.filter((other) => other.from !== from.id || other.to !== to.id);
    draft.set({
      bridges: [...others, documents.bridge],
      ...(adapter === 'documents' && { current: to.id }),
      migration: { from: from.id, to: to.id, started: Date.now(), adapter, queries: queries.bridge },
    });
  });
  return { adapter, documents: documents.chosen, queries: queries.chosen };
}

async function saveBridge(
  store: Store,
  corrector: Corrector,
  chosen: ChosenCorrector,
  [from, to]: readonly [StoredSpace, StoredSpace],
): Promise<StoredBridge> {
  const { kind, sample, heldOutError } = chosen;
  const bridge: StoredBridge = { from: from.id, to: to.id, kind, sample, heldOutError };
  const description = describeCorrector(chosen, from, to);
  await store.files.save(bridgeFolder(bridge), (path) => saveCorrector(path, corrector, description));
  return bridge;
}

/**
 * Ends a migration: removes the vectors, the model and the corrector of the former space. If the former vectors have an index for
 * approximate search and the new ones have none, one of the same kind is built before.
 *
 * @param options  `onProgress` is called around the building of an index
 * @throws UsageError if no migration is under way, or passages are missing in the new space
 */
export async function cutOver(
  store: Store,
  { onProgress }: Pick<BackfillOptions, 'onProgress'> = {},
): Promise<void> {
  const { from, to } = underWay(store);
  const checkComplete = async (state: StoreSnapshot): Promise<void> => {
    const { length: missing } = await stalePassages(state, to);
    if (missing === 0) return;
    throw new UsageError(`${missing} passages are not embedded by the new model yet`, {
      help: `go on with undrift migrate start --store ${store.folder} --adapter documents`,
    });
  };
  await checkComplete(await store.snapshot());
  await buildSameIndex(store, { from, to, onProgress });
  await store.commit(async (draft) => {
    // Again: another process may have added passages.
    await checkComplete(draft);
    await draft.removeSpace(from);
    draft.set({ current: to, migration: null });
  });
  // Only now: until the commit, the space is part of the store.
  await removeEncoder(store, from);
  for (const ends of [
    { from, to },
    { from: to, to: from },
  ]) {
    await store.files.remove(bridgeFolder(ends));
  }
}

/**
 * Undoes a migration: queries are embedded by the former model again. Passages that were added or changed since its start are embedded
 * by it. The new model's vectors stay, so that a later migration need not make them again.
 *
 * @param retriever  the former model
 * @throws UsageError if no migration is under way
 */
export async function rollBack(
  store: Store,
  retriever: Retriever,
  options: BackfillOptions = {},
): Promise<number> {
  const { from } = underWay(store);
  const { embedded } = await backfill(store, retriever, options);
  await store.commit(async (draft) => draft.set({ current: from, migration: null }));
  return embedded;
}

/** Returns the migration of a store. @throws UsageError if none is under way */
export function underWay(store: Store) {
  const { migration } = store.head;
  if (migration) return migration;
  throw new UsageError('no migration is under way', {
    help: `start one: undrift migrate start --store ${store.folder} --to MODEL`,
  });
}
