import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { loadData } from '../data/load.ts';
import { formatMetrics } from '../eval/report.ts';
import {
  backfillVectors,
  cutOverVectors,
  planVectorMigration,
  rollBackVectors,
  startVectorMigration,
  type VectorBackfillOptions,
  type VectorMigrationOptions,
} from '../foreign/migrate-vectors.ts';
import { shownStore } from '../foreign/postgres-address.ts';
import { PostgresVectors } from '../foreign/postgres-vectors.ts';
import { migrationIn, spaceIn, stateOf } from '../foreign/store-state.ts';
import { type VectorReportOptions, vectorMigrationReport } from '../foreign/vector-report.ts';
import type { PlanOptions } from '../migration/plan-migration.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { commandLine, quoteWord } from '../util/command-line.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import type { CommandResult } from './command.ts';
import { formatChosen, formatPlan } from './format-migration.ts';
import type { Io } from './io.ts';
import { loadModel, readOptions, showProgress } from './model-source.ts';

/** Runs a piece of work on a table of PostgreSQL, which is closed at the end. */
export async function withPostgres<T>(
  address: string,
  work: (store: PostgresVectors) => Promise<T>,
): Promise<T> {
  const store = await PostgresVectors.connect(address);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** Name of a model that finds it from any folder: a folder by its absolute path, a name on the hub as it is. */
export const lastingName = (model: string): string => (existsSync(model) ? resolve(model) : model);

/** Origin of the vectors of a table, as the options `--from` and `--from-space` give it. */
export interface OriginOptions {
  readonly from?: string | undefined;
  readonly fromSpace?: string | undefined;
}

/** `migrate plan` on a table of PostgreSQL. */
export async function planPostgres(
  { store: address, to, from, fromSpace }: OriginOptions & { store: string; to: string },
  settings: PlanOptions,
  io: Io,
): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const retriever = await loadModel(to, io, [], { option: 'to' });
    const former = await loadOrigin({ from, fromSpace }, io);
    const plan = await planVectorMigration(store, retriever, {
      ...settings,
      model: lastingName(to),
      from: former,
      fromModel: from && lastingName(from),
      fromSpace,
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await retriever.dispose();
    await former?.dispose();
    const next = commandLine('migrate start', { store: shownStore(address), to, from, fromSpace });
    return {
      json: { store: shownStore(address), ...plan },
      text: `${formatPlan(plan)}next: ${next}\n`,
    };
  });
}

/** `migrate start` on a table of PostgreSQL. */
export async function startPostgres(
  { store: address, to, from, fromSpace }: OriginOptions & { store: string; to?: string | undefined },
  { fit, backfill }: { fit: VectorMigrationOptions; backfill: VectorBackfillOptions },
  io: Io,
): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const state = await stateOf(store);
    const target = to ?? (state.migration && spaceIn(state, state.migration.to)?.model);
    if (!target) throw new UsageError('--to is missing');
    const retriever = await loadModel(target, io, [], { option: 'to' });
    if (to === undefined) checkSpace(retriever, state.migration!.to, target);
    const former = state.current === null ? await loadOrigin({ from, fromSpace }, io) : undefined;
    const shared = { signal: io.signal, onProgress: showProgress(io) };
    const chosen = await startVectorMigration(store, retriever, {
      ...fit,
      ...shared,
      model: lastingName(target),
      from: former,
      fromModel: from && lastingName(from),
      fromSpace,
    });
    io.finishProgress();
    await former?.dispose();
    if (chosen) io.log(formatChosen(chosen).trimEnd());
    const shown = shownStore(address);
    const after = await stateOf(store);
    const serves = after.current === after.migration?.to;
    if (serves && store.view !== undefined) {
      io.log(
        `the view ${store.view} has the vectors of the new model, corrected ones where it has embedded none yet`,
      );
    }
    const { embedded, missing } = await backfillVectors(store, retriever, {
      ...backfill,
      ...shared,
    });
    io.finishProgress();
    await retriever.dispose();
    const stopped = io.signal.aborted;
    return {
      json: {
        store: shown,
        view: store.view ?? null,
        ...after.migration,
        ...chosen,
        embedded,
        missing,
        stopped,
      },
      text:
        `${count(embedded)} passages embedded, ${count(missing)} missing\n` +
        (missing > 0
          ? `go on: ${commandLine('migrate start', { store: shown })}\n`
          : `next: ${commandLine('migrate cutover', { store: shown })}\n`),
      ...(stopped && { exitCode: 1 as const }),
    };
  });
}

/** `migrate report` on a table of PostgreSQL. */
export async function reportPostgres(
  {
    store: address,
    data: folder,
    split,
    faults,
  }: { store: string; data: string; split: string; faults: Parameters<typeof readOptions>[1] },
  settings: VectorReportOptions,
  io: Io,
): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const state = await stateOf(store);
    const migration = migrationIn(state, store);
    const data = await loadData(folder, { splits: [split], ...readOptions(io, faults) });
    io.finishProgress();
    const to = await loadSpace(spaceIn(state, migration.to)!, io);
    const from = await loadFormer(spaceIn(state, migration.from)!, io);
    const report = await vectorMigrationReport(store, { to, from }, data, split, {
      ...settings,
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await to.dispose();
    await from?.dispose();
    const { old, mixed, new: alone, overlap, share, queries } = report;
    const rows = [
      ...(old ? [{ name: 'former model', metrics: old }] : []),
      { name: 'store as it is', metrics: mixed },
      { name: 'new model alone', metrics: alone },
    ];
    return {
      json: { store: shownStore(address), data: data.name, split, ...report },
      text:
        `${formatMetrics(rows)}${(100 * share).toFixed(1)} % embedded by the new model; ` +
        `${overlap === null ? '' : `overlap@10 with the former model ${overlap.toFixed(3)}, `}${count(queries)} queries\n`,
    };
  });
}

/** `migrate cutover` on a table of PostgreSQL. */
export async function cutoverPostgres({ store: address }: { store: string }): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const { from, to } = migrationIn(await stateOf(store), store);
    await cutOverVectors(store);
    return {
      json: { store: shownStore(address), from, to, view: store.view ?? null },
      text: `searches of ${store.name} use the space ${to}; original vectors are as they were\n`,
    };
  });
}

/** `migrate rollback` on a table of PostgreSQL. */
export async function rollbackPostgres(
  { store: address }: { store: string },
  compute: ComputeOptions,
  io: Io,
): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const { from, to } = migrationIn(await stateOf(store), store);
    const embedded = await rollBackVectors(store, (space) => loadSpace(space, io), {
      ...compute,
      onProgress: showProgress(io),
    });
    io.finishProgress();
    return {
      json: { store: shownStore(address), from: to, to: from, embedded },
      text: `${store.name} is back in space ${from}; ${count(embedded)} newer passages were embedded by its model\n`,
    };
  });
}

async function loadOrigin({ from, fromSpace }: OriginOptions, io: Io): Promise<Retriever | undefined> {
  if (from !== undefined && fromSpace !== undefined) {
    throw new UsageError('--from and --from-space exclude each other');
  }
  return from === undefined ? undefined : await loadModel(from, io, [], { option: 'from' });
}

/**
 * Loads the model of a space, by the name that it had when the space was added.
 *
 * @throws UsageError if the model of this name is another one now
 */
export async function loadSpace({ id, model }: StoredSpace, io: Io): Promise<Retriever> {
  if (model === id)
    throw new UsageError(`the model of the space ${id} is not known: its vectors have a name only`);
  const retriever = await loadModel(model, io);
  checkSpace(retriever, id, model);
  return retriever;
}

/** Loads the former model for a comparison; undefined if only its vectors have a name, or it is no longer there. */
async function loadFormer(space: StoredSpace, io: Io): Promise<Retriever | undefined> {
  try {
    return await loadSpace(space, io);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.log(`note: the former model ${quoteWord(space.model)} is not compared: ${error.marked.message}`);
    return undefined;
  }
}

function checkSpace(retriever: Retriever, id: string, model: string): void {
  const found = embeddingSpaceId(retriever);
  if (found === id) return;
  throw new UsageError(
    `the model ${model} gives vectors of the space ${found}, those in the database are of ${id}`,
    {
      help: 'the model has changed since: restore its folder, or roll back and start anew',
    },
  );
}
