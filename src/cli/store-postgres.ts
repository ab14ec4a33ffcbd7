import { embedRows } from '../foreign/migrate-vectors.ts';
import { shownStore } from '../foreign/postgres-address.ts';
import type { PostgresHit } from '../foreign/postgres-vectors.ts';
import { placeOf, spaceIn, stateOf } from '../foreign/store-state.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { commandLine } from '../util/command-line.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatDuration, percent } from '../util/format.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { lastingName, loadSpace, withPostgres } from './migrate-postgres.ts';
import { loadModel, showProgress } from './model-source.ts';

/** `status` of a table of PostgreSQL. */
export async function statusPostgres(address: string): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const state = await stateOf(store);
    const { rows, original, spaces: written } = await store.describe();
    const share = (part: number) => (rows === 0 ? 0 : part / rows);
    const known = written.map((space) => {
      const { model, dimension, steps } = spaceIn(state, space.id) ?? {
        model: null,
        dimension: null,
        steps: null,
      };
      return {
        ...space,
        model,
        dimension,
        steps,
        share: share(space.rows),
        current: space.id === state.current,
      };
    });
    const first = original && {
      id: state.original?.id ?? null,
      ...original,
      model: state.original?.model ?? null,
      share: share(original.rows),
      current:
        state.current === null ||
        (state.original !== null && placeOf(state, state.current) !== state.current),
    };
    const { migration } = state;
    const line = (space: { current: boolean; share: number; rows: number }, name: string, facts: string) =>
      `${space.current ? '*' : ' '} ${name}  ${count(space.rows)} vectors (${percent(space.share)}), ${facts}\n`;
    const lines = [
      ...(first
        ? [line(first, first.id ?? '(unknown space)', `original, D ${first.dimension}  ${first.model ?? ''}`)]
        : []),
      ...known.map((space) =>
        line(
          space,
          space.id,
          `${count(space.corrected)} of them corrected, D ${space.dimension}  ${space.model}`,
        ),
      ),
      ...(migration ? [`migration from ${migration.from} to ${migration.to}\n`] : []),
    ];
    return {
      json: {
        store: shownStore(address),
        passages: rows,
        original: first,
        spaces: known,
        current: state.current,
        migration,
        view: state.current === null ? null : (store.view ?? null),
      },
      text: `${count(rows)} passages in ${store.name}\n${lines.join('').replaceAll(/ +\n/g, '\n')}`,
    };
  });
}

/** `index` of a table of PostgreSQL: embeds the texts that have no vector of the current model. */
export async function indexPostgres(
  address: string,
  model: string,
  compute: ComputeOptions,
  io: Io,
): Promise<CommandResult> {
  return await withPostgres(address, async (store) => {
    const startMs = performance.now();
    const retriever = await loadModel(model, io);
    const space = embeddingSpaceId(retriever);
    const { embedded, missing } = await embedRows(store, retriever, {
      ...compute,
      model: lastingName(model),
      signal: io.signal,
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await retriever.dispose();
    const { rows } = await store.describe();
    const seconds = (performance.now() - startMs) / 1000;
    const stopped = io.signal.aborted;
    const shown = shownStore(address);
    return {
      json: {
        store: shown,
        rows,
        space,
        embedded,
        missing,
        view: store.view ?? null,
        stopped,
        seconds: Number(seconds.toFixed(3)),
      },
      text:
        `${count(rows)} passages in ${store.name} (space ${space})\n` +
        `${count(embedded)} embedded, ${count(missing)} missing, ${formatDuration(seconds * 1000)}\n` +
        (stopped
          ? 'stopped: give the command again to go on\n'
          : `next: ${commandLine('search', { store: shown, mode: 'dense' }, ['…'])}\n`),
      ...(stopped && { exitCode: 1 as const }),
    };
  });
}

/** Finds rows of a table of PostgreSQL for a text, by its server. */
export async function searchPostgres(
  address: string,
  text: string,
  { mode, topK }: { readonly mode: string; readonly topK: number },
  { io, compute }: { io: Io; compute: ComputeOptions },
): Promise<{ passages: number; results: (PostgresHit & { rank: number })[] }> {
  if (mode !== 'dense') {
    throw new UsageError(`a table of PostgreSQL is not searched by --mode ${mode}`, {
      help: 'search it by its vectors: --mode dense',
    });
  }
  return await withPostgres(address, async (store) => {
    const state = await stateOf(store);
    const space = spaceIn(state, state.current);
    if (!space) {
      throw new UsageError(`nothing says which model made the vectors of ${store.name}`, {
        help: 'embed its texts by undrift index, or start a migration by undrift migrate start',
      });
    }
    const retriever = await loadSpace(space, io);
    const vector = await retriever.encode('query', [text], compute);
    await retriever.dispose();
    const hits = await store.search(placeOf(state, space.id), vector, topK);
    const { rows } = await store.describe();
    return { passages: rows, results: hits.map((hit, i) => ({ rank: i + 1, ...hit })) };
  });
}
