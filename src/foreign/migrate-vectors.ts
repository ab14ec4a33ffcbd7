import type { Corrector } from '../correctors/corrector.ts';
import { describeCorrector } from '../correctors/corrector-folder.ts';
import type { BackfillOptions } from '../migration/backfill.ts';
import {
  type ChosenCorrector,
  chooseCorrector,
  type MigrationOptions,
} from '../migration/choose-corrector.ts';
import { type MigrationPlan, type PlanOptions, planFromSample } from '../migration/plan-migration.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { spaceOf } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import { type OriginalModel, presentSpace, sampleRows, textOf } from './sample-rows.ts';
import {
  changeState,
  migrationIn,
  packCorrector,
  pages,
  placeOf,
  spaceIn,
  stateOf,
  unitVectors,
  unpackCorrector,
} from './store-state.ts';
import type { VectorRow, VectorStore, VectorStoreFacts, WrittenVector } from './vector-store.ts';

/** Settings of {@link planVectorMigration} and {@link startVectorMigration}. */
export type VectorMigrationOptions = MigrationOptions & OriginalModel;

/** Rows that are corrected and stored at once. */
const CORRECTED_ROWS = 2048;

/**
 * Measures what a migration to another model would take. Nothing is stored.
 *
 * @param to  the new model
 * @throws UsageError if the database has no vectors, or they are not of the model that is said to have made them
 */
export async function planVectorMigration(
  store: VectorStore,
  to: Retriever,
  options: PlanOptions & OriginalModel = {},
): Promise<MigrationPlan> {
  const [state, facts] = [await stateOf(store), await store.describe()];
  const from = presentSpace(store, state, facts, options);
  const space = newSpace(store, from, to, options);
  const sampled = await sampleRows(store, state, from, { ...options, to });
  const missing = facts.rows - embedded(facts, space.id);
  return await planFromSample(sampled, { from, to: space, passages: facts.rows, missing }, options);
}

/**
 * Starts a migration: fits a corrector, stores corrected vectors of all rows in the place of the new space, and lets searches of the
 * database see them. Queries should be embedded by the new model from then on. {@link backfillVectors} replaces corrected vectors by
 * true ones. Original vectors are not changed.
 *
 * A call that was stopped is made again: it goes on where it was.
 *
 * @param to  the new model
 * @returns  facts about the corrector; undefined if an earlier call has fitted it
 * @throws UsageError if another migration is under way, or as {@link planVectorMigration} does
 */
export async function startVectorMigration(
  store: VectorStore,
  to: Retriever,
  options: VectorMigrationOptions & Pick<BackfillOptions, 'signal'> = {},
): Promise<ChosenCorrector | undefined> {
  let state = await stateOf(store);
  const id = embeddingSpaceId(to);
  if (state.migration && state.migration.to !== id) {
    throw new UsageError(`a migration of ${store.name} to ${state.migration.to} is under way`, {
      help: 'finish it with undrift migrate cutover, or undo it with undrift migrate rollback',
    });
  }
  let chosen: ChosenCorrector | undefined;
  if (!state.migration) {
    const facts = await store.describe();
    const from = presentSpace(store, state, facts, options);
    const space = newSpace(store, from, to, options);
    // Left by a cutover or a rollback that was killed.
    for (const { id: left } of facts.spaces)
      if (!state.spaces.some((known) => known.id === left)) await store.drop(left);
    const sampled = await sampleRows(store, state, from, { ...options, to });
    const { corrector, heldOut: _, ...measured } = await chooseCorrector(sampled, from, space, options);
    chosen = measured;
    const { kind, sample, heldOutError } = chosen;
    const bridge = { from: from.id, to: id, kind, sample, heldOutError };
    const files = await packCorrector(corrector, describeCorrector(chosen, from, space));
    await corrector.dispose();
    state = await changeState(store, state, {
      original: state.original ?? (state.current === null ? from : null),
      spaces: [...state.spaces.filter((other) => other.id !== id), space],
      current: from.id,
      migration: { from: from.id, to: id, started: Date.now() },
      bridge: { ...bridge, files },
    });
    await store.write(space, trueVectors(sampled.rows, sampled.fresh, space));
  }
  await correctRows(store, options);
  if (state.current !== id && !options.signal?.aborted) await changeState(store, state, { current: id });
  return chosen;
}

/** Stores corrected vectors of all rows that have none of the new space. */
async function correctRows(
  store: VectorStore,
  {
    signal,
    onProgress,
    device,
    threads,
  }: Pick<BackfillOptions, 'signal' | 'onProgress' | 'device' | 'threads'>,
): Promise<void> {
  const state = await stateOf(store);
  const { from, to } = migrationIn(state, store);
  const [source, target] = [spaceIn(state, from)!, spaceIn(state, to)!];
  const request = {
    space: placeOf(state, from),
    texts: false,
    lacking: { space: to, what: 'vector' },
  } as const;
  const total = (await store.describe()).rows;
  let done = 0;
  let corrector: Corrector | undefined;
  try {
    for await (const rows of pages(store, request, CORRECTED_ROWS)) {
      if (signal?.aborted) return;
      const found = unitVectors(rows, source, store);
      done += rows.length;
      if (found.rows.length === 0) continue;
      const compute = { ...(device && { device }), ...(threads && { threads }) };
      corrector ??= await unpackCorrector(state, store, compute);
      const shape = [found.rows.length, source.dimension];
      const moved = await corrector.correct(hostTensor('f32', shape, found.vectors));
      await store.write(target, stamped(found.rows, moved, target, true));
      onProgress?.({ stage: 'correct', done, total, unit: 'passages' });
    }
  } finally {
    await corrector?.dispose();
  }
}

/** Settings of {@link backfillVectors}. */
export type VectorBackfillOptions = ComputeOptions &
  Pick<BackfillOptions, 'until' | 'workShare' | 'rowsPerMinute' | 'commitRows' | 'signal' | 'onProgress'>;

/**
 * Embeds rows that have no true vector of the current space, in the order of their ids, and stores each part at once. Rows without a
 * text keep what they have. A backfill that was stopped goes on when it is called again.
 *
 * @param retriever  the model of the current space
 * @returns  number of rows embedded, and of those that are still missing
 * @throws UsageError for another model
 */
export async function backfillVectors(
  store: VectorStore,
  retriever: Retriever,
  {
    until = 1,
    workShare = 1,
    rowsPerMinute = Number.POSITIVE_INFINITY,
    commitRows = 512,
    signal,
    onProgress,
    ...compute
  }: VectorBackfillOptions = {},
): Promise<{ embedded: number; missing: number }> {
  const state = await stateOf(store);
  const id = embeddingSpaceId(retriever);
  const space = state.spaces.find((known) => known.id === id);
  if (!space) throw new UsageError(`${store.name} has no place for vectors of the space ${id}`);
  const facts = await store.describe();
  const before = embedded(facts, id);
  const target = Math.ceil(until * facts.rows) - before;
  const request = { space: null, texts: true, lacking: { space: id, what: 'true vector' } } as const;
  let [done, after] = [0, null as string | null];
  while (done < target && !signal?.aborted) {
    const startMs = performance.now();
    // A page of a slow backfill takes six seconds at most, so that a signal is seen.
    const limit = Math.min(commitRows, target - done, Math.max(1, Math.floor(rowsPerMinute / 10)));
    const page = await store.read({ ...request, after, limit });
    const rows = page.filter(({ text }) => text !== null);
    if (rows.length > 0) {
      const vectors = await retriever.encode('document', rows.map(textOf), compute);
      await store.write(space, trueVectors(rows, vectors, space));
    }
    done += rows.length;
    if (page.length < limit) break;
    after = page.at(-1)!.id;
    onProgress?.({ stage: 'backfill', done: before + done, total: facts.rows, unit: 'passages' });
    const spentMs = performance.now() - startMs;
    const restMs = Math.max(spentMs * (1 / workShare - 1), (rows.length / rowsPerMinute) * 60_000 - spentMs);
    if (restMs > 1) await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  return { embedded: done, missing: await countMissing(store, id) };
}

/**
 * Ends a migration: removes the vectors of the former space, unless they are the original ones, and the corrector.
 *
 * @throws UsageError if no migration is under way, or rows with a text have no true vector of the new model
 */
export async function cutOverVectors(store: VectorStore): Promise<void> {
  const state = await stateOf(store);
  const { from, to } = migrationIn(state, store);
  const missing = await countMissing(store, to);
  if (missing > 0 || state.current !== to) {
    throw new UsageError(`${missing} passages of ${store.name} are not embedded by the new model yet`, {
      help: 'go on with undrift migrate start --store STORE',
    });
  }
  const spaces = state.spaces.filter(({ id }) => id !== from);
  await changeState(store, state, { spaces, migration: null, bridge: null });
  if (placeOf(state, from) === from) await store.drop(from);
}

/**
 * Undoes a migration: searches of the database see the former vectors again, and those of the new model are removed. Rows that were
 * added meanwhile are embedded by the former model, if its vectors are not the original ones.
 *
 * @param loadFormer  loads the former model; called only if rows are to be embedded by it
 * @returns  number of rows embedded by the former model
 * @throws UsageError if no migration is under way
 */
export async function rollBackVectors(
  store: VectorStore,
  loadFormer: (space: StoredSpace) => Promise<Retriever>,
  options: BackfillOptions = {},
): Promise<number> {
  const state = await stateOf(store);
  const { from, to } = migrationIn(state, store);
  let count = 0;
  if (placeOf(state, from) === from && (await countMissing(store, from)) > 0) {
    const former = await loadFormer(spaceIn(state, from)!);
    count = (await backfillVectors(store, former, options)).embedded;
    await former.dispose();
  }
  const spaces = state.spaces.filter(({ id }) => id !== to);
  await changeState(store, state, { spaces, current: from, migration: null, bridge: null });
  await store.drop(to);
  return count;
}

/**
 * Embeds the rows of a database that have no vector of a model. A database without vectors gets those of the model as its first.
 *
 * @returns  number of rows embedded, and of those that are still missing
 * @throws UsageError if searches of the database use vectors of another space
 */
export async function embedRows(
  store: VectorStore,
  retriever: Retriever,
  { model = '(memory)', ...options }: BackfillOptions & { model?: string | undefined } = {},
): Promise<{ embedded: number; missing: number }> {
  const [state, facts] = [await stateOf(store), await store.describe()];
  const space = spaceOf(retriever, model);
  if (state.current === null && facts.original !== null && facts.original.rows > 0) {
    throw new UsageError(`${store.name} has vectors already, ${facts.original.rows} of them`, {
      help: 'replace their model by undrift migrate start --store STORE --from OLD --to NEW',
    });
  }
  if (state.current !== null && (state.current !== space.id || placeOf(state, space.id) !== space.id)) {
    throw new UsageError(
      `searches of ${store.name} use vectors of the space ${state.current}, not ${space.id}`,
      {
        help: 'replace their model by undrift migrate start --store STORE --to NEW',
      },
    );
  }
  if (state.current === null) {
    await store.write(space, []);
    await changeState(store, state, { spaces: [space], current: space.id });
  }
  return await backfillVectors(store, retriever, options);
}

/** Counts the rows with a text that have no true vector of a space. */
export async function countMissing(store: VectorStore, space: string): Promise<number> {
  const facts = await store.describe();
  const lacking = facts.rows - embedded(facts, space);
  if (lacking === 0) return 0;
  let count = 0;
  const request = { space: null, texts: true, lacking: { space, what: 'true vector' } } as const;
  for await (const rows of pages(store, request, CORRECTED_ROWS))
    count += rows.filter(({ text }) => text !== null).length;
  return count;
}

/** Number of rows with a true vector of a space. */
function embedded({ spaces }: VectorStoreFacts, id: string): number {
  const space = spaces.find((known) => known.id === id);
  return space ? space.rows - space.corrected : 0;
}

/** Describes the space of the new model. @throws UsageError if it is the present one, or vectors are not of unit norm */
function newSpace(
  store: VectorStore,
  from: StoredSpace,
  to: Retriever,
  { model = '(memory)' }: MigrationOptions,
): StoredSpace {
  const space = spaceOf(to, model);
  if (space.id === from.id)
    throw new UsageError(`${store.name} holds vectors of this model already (space ${space.id})`);
  if (to.config.encoder.normalize) return space;
  throw new UsageError('the model does not normalise its vectors, and correctors give vectors of unit norm', {
    help: 'use a model with normalisation',
  });
}

const trueVectors = (
  rows: readonly VectorRow[],
  vectors: Float32Array,
  space: StoredSpace,
): WrittenVector[] => stamped(rows, vectors, space, false);

/** Stamps vectors that were made just now. */
function stamped(
  rows: readonly VectorRow[],
  vectors: Float32Array,
  { dimension, steps }: StoredSpace,
  corrected: boolean,
): WrittenVector[] {
  const time = Date.now();
  return rows.map(({ id, version }, i) => ({
    id,
    version,
    values: vectors.subarray(i * dimension, (i + 1) * dimension),
    step: steps,
    time,
    corrected,
  }));
}
