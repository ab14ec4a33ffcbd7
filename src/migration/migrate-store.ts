import { saveCorrector } from '../correctors/corrector-folder.ts';
import { correctorPlan } from '../correctors/corrector-options.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { stampNow } from '../store/columns.ts';
import { stalePassages } from '../store/staleness.ts';
import { type Store, spaceOf } from '../store/store.ts';
import type { StoredBridge, StoredSpace } from '../store/store-head.ts';
import { saveEncoder } from '../store/stored-encoder.ts';
import { bridgeFolder } from '../store/vector-source.ts';
import { UsageError } from '../util/errors.ts';
import { type BackfillOptions, backfill } from './backfill.ts';
import {
  type ChosenCorrector,
  chooseCorrector,
  embedSample,
  type MigrationOptions,
} from './choose-corrector.ts';

/** Plan of a migration: what it would take and how good mixed versions would be. */
export interface MigrationPlan extends ChosenCorrector {
  /** Space of the present vectors. */
  readonly from: StoredSpace;
  /** Space of the new model. */
  readonly to: StoredSpace;
  /** Number of passages. */
  readonly passages: number;
  /** Passages that the new model has not embedded. */
  readonly missing: number;
  /** Time of embedding these, in seconds, at the rate of the sample. */
  readonly seconds: number;
}

/**
 * Measures what a migration to another model would take: embeds a sample of passages by the new model and fits correctors to it.
 * Nothing is stored.
 *
 * @throws UsageError if the store has no vectors, the model is that of the store, or vectors are not of unit norm
 */
export async function planMigration(
  store: Store,
  retriever: Retriever,
  options: MigrationOptions = {},
): Promise<MigrationPlan> {
  const snapshot = await store.snapshot();
  const [from, to] = spacesOf(store, retriever, options);
  const sampled = await embedSample(snapshot, from, retriever, options);
  const { corrector, ...chosen } = await chooseCorrector(sampled, from, to, options);
  await corrector.dispose();
  const passages = await snapshot.passages.count();
  const stored = snapshot.head.spaces.some(({ id }) => id === to.id)
    ? await snapshot.embeddings(to.id).count()
    : 0;
  const missing = passages - stored;
  return { from, to, passages, missing, seconds: missing / chosen.passagesPerSecond, ...chosen };
}

/**
 * Starts a migration: fits a corrector from the vectors of the store to those of the new model, and makes the new space current.
 * From then on queries are embedded by the new model. Passages without a vector of it are found by their old vectors, moved by the
 * corrector, until {@link backfill} has embedded them.
 *
 * @returns  facts about the corrector
 * @throws UsageError if the store has no vectors, a migration is under way, the model is that of the store, or vectors are not of
 *   unit norm
 */
export async function startMigration(
  store: Store,
  retriever: Retriever,
  options: MigrationOptions = {},
): Promise<ChosenCorrector> {
  const snapshot = await store.snapshot();
  if (snapshot.head.migration) {
    throw new UsageError(`a migration to ${snapshot.head.migration.to} is under way`, {
      help: 'finish it with undrift migrate cutover, or undo it with undrift migrate rollback',
    });
  }
  const [from, to] = spacesOf(store, retriever, options);
  const sampled = await embedSample(snapshot, from, retriever, options);
  const { corrector, ...chosen } = await chooseCorrector(sampled, from, to, options);
  const { kind, sample, heldOutError } = chosen;
  const bridge: StoredBridge = { from: from.id, to: to.id, kind, sample, heldOutError };
  const sizes = { dimension: from.dimension, toDimension: to.dimension };
  const { hidden, depth, rank } = correctorPlan(kind, sizes);
  await saveEncoder(store, retriever, to.id);
  await saveCorrector(bridgeFolder(store, bridge), corrector, {
    kind,
    ...sizes,
    fromSpace: from.id,
    toSpace: to.id,
    ...(kind === 'mlp' && { hidden, depth }),
    ...(kind === 'low-rank' && { rank }),
    sample,
    heldOutError,
  });
  await corrector.dispose();
  await store.commit(async (draft) => {
    const table = await draft.addSpace(to);
    await table.put(stampNow(sampled.pids, sampled.fresh, to.steps));
    draft.set({
      bridges: [
        ...draft.head.bridges.filter((other) => other.from !== from.id || other.to !== to.id),
        bridge,
      ],
      current: to.id,
      migration: { from: from.id, to: to.id, started: Date.now() },
    });
  });
  return chosen;
}

/**
 * Ends a migration: removes the vectors, the model and the corrector of the former space.
 *
 * @throws UsageError if no migration is under way, or passages are missing in the new space
 */
export async function cutOver(store: Store): Promise<void> {
  const { from, to } = underWay(store);
  const missing = await stalePassages(await store.snapshot(), to);
  if (missing.length > 0) {
    throw new UsageError(`${missing.length} passages are not embedded by the new model yet`, {
      help: `go on with undrift migrate start --store ${store.folder}`,
    });
  }
  await store.commit(async (draft) => {
    await draft.removeSpace(from);
    draft.set({ migration: null });
  });
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

/** Describes the spaces of a migration from the current space to a model. */
function spacesOf(store: Store, retriever: Retriever, { model = '(memory)' }: MigrationOptions) {
  const { current, spaces } = store.head;
  const from = spaces.find(({ id }) => id === current);
  if (!from)
    throw new UsageError('the store has no vectors yet', {
      help: 'undrift index --model MODEL --store STORE',
    });
  const to = spaceOf(retriever, model);
  if (to.id === from.id)
    throw new UsageError(`the store holds vectors of this model already (space ${to.id})`);
  if (!retriever.config.encoder.normalize) {
    throw new UsageError(
      'the model does not normalise its vectors, and correctors give vectors of unit norm',
      {
        help: 'use a model with normalisation, or index the documents anew: undrift index --model MODEL --store NEW',
      },
    );
  }
  return [from, to] as const;
}
