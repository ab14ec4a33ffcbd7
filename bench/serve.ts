/**
 * Measures a store and its server:
 *
 *     npm run bench:serve -- [--passages 20000,200000] [--connections 1,8,32] [--seconds 6] [--model FOLDER] [--out FILE]
 *
 * Passages are random words; the model is a static encoder of random weights with 384 dimensions, or that of a folder. For each number
 * of passages: rate of indexing; exact search beside the bare matrix products and top-k of the same blocks, in turn in one process; an
 * upsert of ten passages and the time until it is found; queries per second and percentiles of the latency, with the load from another
 * process. At the end: storing rows beside LanceDB's own `add`, and the cost of the background refresh for searches during a migration.
 *
 * With the defaults it takes about ten minutes on two idle cores. Progress goes to stderr, tables to stdout, and the numbers to
 * `bench/results/serve.json`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startMigration } from '../src/migration/migrate-store.ts';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { defaultThreads } from '../src/runtime/devices.ts';
import { SERVE_WORK_SHARE, type ServeOptions, serveStore } from '../src/serve/server.ts';
import { Store } from '../src/store/store.ts';
import {
  type ExactTimes,
  type IngestRates,
  measureExact,
  measureIngest,
  measureUpsert,
  type UpsertTimes,
} from './measure-store.ts';
import { type Machine, machineTitle, startMachine, writeResult } from './result-file.ts';
import { type Built, buildStore, makeEncoder } from './serve-data.ts';
import type { Load, LoadResult } from './serve-load.ts';
import { table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    passages: { type: 'string', default: '20000,200000' },
    connections: { type: 'string', default: '1,8,32' },
    seconds: { type: 'string', default: '6' },
    model: { type: 'string' },
    out: { type: 'string', default: fileURLToPath(new URL('results/serve.json', import.meta.url)) },
  },
});
const numbers = (text: string) => text.split(',').map(Number);
const connections = numbers(options.connections);
const seconds = Number(options.seconds);
const startMs = performance.now();
const report = (text: string) =>
  process.stderr.write(`${((performance.now() - startMs) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);

/** Kinds of search that are put under load. */
const SEARCHES = {
  exact: { mode: 'dense' },
  approximate: { mode: 'dense', approximate: true },
  bm25: { mode: 'bm25' },
  hybrid: { mode: 'hybrid' },
} as const;

interface Loaded extends LoadResult {
  readonly search: string;
  readonly connections: number;
}

interface StoreResult {
  readonly passages: number;
  readonly built: Built;
  readonly exact: readonly ExactTimes[];
  readonly upsert: UpsertTimes;
  readonly load: readonly Loaded[];
}

/** Queries per second during a migration, with 8 connections. */
interface RefreshResult {
  readonly passages: number;
  /** Share of the time that the refresh may take. */
  readonly workShare: number;
  readonly without: LoadResult;
  readonly withRefresh: LoadResult;
  /** Passages that were embedded meanwhile. */
  readonly embedded: number;
}

/** Content of bench/results/serve.json. The last two are absent while the measurement is under way. */
export interface ServeResults extends Machine {
  readonly stores: readonly StoreResult[];
  readonly ingest?: IngestRates;
  readonly refresh?: RefreshResult;
}

const child = fork(fileURLToPath(new URL('serve-load.ts', import.meta.url)), [], {
  execArgv: ['--import', 'tsx'],
});

async function underLoad(folder: string, serve: ServeOptions, loads: readonly Omit<Load, 'url'>[]) {
  const server = await serveStore(folder, { port: 0, ...serve });
  const results: LoadResult[] = [];
  for (const load of loads) {
    report(`load: ${JSON.stringify(load.body)}, ${load.connections} connections`);
    const answered = once(child, 'message');
    child.send({ url: server.url, ...load } satisfies Load);
    const result = (await answered)[0] as LoadResult;
    report(`  ${result.queriesPerSecond.toFixed(0)} queries/s, p50 ${result.p50.toFixed(1)} ms`);
    results.push(result);
  }
  // What the refresh has embedded is committed when the server closes.
  await server.close();
  const store = await Store.open(folder);
  const rows = await (await store.snapshot()).embeddings(store.head.current!).count();
  await store.close();
  return { results, rows };
}

async function measure(folder: string, retriever: Retriever, passages: number): Promise<StoreResult> {
  const built = await buildStore(folder, retriever, passages, report);
  const exact: ExactTimes[] = [];
  for (const queries of [1, 32]) {
    report(`exact search, ${queries} queries at once, beside the bare products`);
    const times = await measureExact(folder, queries);
    const ratio = (ms: number) => (ms / times.bareMs).toFixed(2);
    report(
      `  bare ${times.bareMs.toFixed(1)} ms, index ${ratio(times.indexMs)}, search ${ratio(times.searchMs)}`,
    );
    exact.push(times);
  }
  const jobs = Object.entries(SEARCHES).flatMap(([search, body]) =>
    connections.map((count) => ({ search, connections: count, body })),
  );
  const loads = jobs.map(({ body, connections }) => ({ body, connections, seconds }));
  const { results } = await underLoad(folder, { readOnly: true }, loads);
  const load = results.map((result, i) => ({
    search: jobs[i]!.search,
    connections: jobs[i]!.connections,
    ...result,
  }));
  report('upserts of ten passages');
  const upsert = await measureUpsert(folder, retriever, { rounds: 7, size: passages });
  report(`  ${upsert.storeMs.toFixed(0)} ms, found after ${upsert.followMs.toFixed(0)} ms more`);
  return { passages, built, exact, upsert, load };
}

async function measureRefresh(folder: string, passages: number): Promise<RefreshResult> {
  const fresh = makeEncoder('transformer');
  report('starting a migration to a transformer');
  const store = await Store.open(folder);
  await startMigration(store, fresh, { model: 'fresh', sample: 300, correctors: ['ridge'] });
  await store.close();
  const load = [{ body: SEARCHES.exact, connections: 8, seconds: 2 * seconds }];
  const before = await underLoad(folder, { refresh: false }, load);
  report('the same with the refresh in the background');
  const after = await underLoad(folder, { refresh: { workShare: SERVE_WORK_SHARE } }, load);
  await fresh.dispose();
  return {
    passages,
    workShare: SERVE_WORK_SHARE,
    without: before.results[0]!,
    withRefresh: after.results[0]!,
    embedded: after.rows - before.rows,
  };
}

function print(stores: readonly StoreResult[], ingest: IngestRates, refresh: RefreshResult): void {
  const ms = (value: number) => value.toFixed(1);
  console.log('\nExact search, milliseconds (ratio to the bare products)\n');
  console.log(
    table([
      ['passages', 'queries', 'embedding', 'bare products', 'index', 'whole search'],
      ...stores.flatMap(({ passages, exact }) =>
        exact.map((of) => [
          String(passages),
          String(of.queries),
          ms(of.encodeMs),
          ms(of.bareMs),
          `${ms(of.indexMs)} (${(of.indexMs / of.bareMs).toFixed(2)})`,
          `${ms(of.searchMs)} (${(of.searchMs / of.bareMs).toFixed(2)})`,
        ]),
      ),
    ]),
  );
  console.log('\nServer under load, latencies in milliseconds\n');
  console.log(
    table([
      ['passages', 'search', 'connections', 'queries/s', 'p50', 'p95', 'p99'],
      ...stores.flatMap(({ passages, load }) =>
        load.map((of) => [
          String(passages),
          of.search,
          String(of.connections),
          of.queriesPerSecond.toFixed(0),
          ms(of.p50),
          ms(of.p95),
          ms(of.p99),
        ]),
      ),
    ]),
  );
  console.log('\nIndexing and upserts\n');
  console.log(
    table([
      ['passages', 'indexed/s', 'approximate index', 'upsert of 10', 'until found', 'loading all vectors'],
      ...stores.map(({ passages, built, upsert }) => [
        String(passages),
        built.passagesPerSecond.toFixed(0),
        `${built.approximateSeconds.toFixed(1)} s`,
        `${ms(upsert.storeMs)} ms`,
        `${ms(upsert.followMs)} ms`,
        `${ms(upsert.loadMs)} ms`,
      ]),
    ]),
  );
  const { without, withRefresh, workShare, embedded } = refresh;
  const cost = 1 - withRefresh.queriesPerSecond / without.queriesPerSecond;
  console.log(
    `\nStoring ${ingest.rows} rows: ${ingest.store.toFixed(0)} a second, LanceDB's own add ${ingest.lance.toFixed(0)} ` +
      `(${(ingest.store / ingest.lance).toFixed(2)})`,
  );
  console.log(
    `Refresh in a migration of ${refresh.passages} passages: ${withRefresh.queriesPerSecond.toFixed(0)} queries/s, ` +
      `${without.queriesPerSecond.toFixed(0)} without; cost ${(100 * cost).toFixed(0)} %, budget ${100 * workShare} %; ` +
      `${embedded} passages embedded`,
  );
}

const retriever = options.model === undefined ? makeEncoder('static') : await loadRetriever(options.model);
const machine = startMachine(defaultThreads());
console.log(machineTitle(defaultThreads()));
const stores: StoreResult[] = [];
let refresh: RefreshResult | undefined;
/** Writes what has been measured so far. */
const save = (ingest?: IngestRates) =>
  writeResult({ ...machine(), stores, ingest, refresh }, { out: options.out });
const sizes = numbers(options.passages);
for (const passages of sizes) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-serve-'));
  report(`store of ${passages} passages`);
  stores.push(await measure(folder, retriever, passages));
  if (passages === Math.min(...sizes)) refresh = await measureRefresh(folder, passages);
  rmSync(folder, { recursive: true });
  save();
}
report('storing rows beside LanceDB');
const ingest = await measureIngest(retriever, Math.min(50_000, ...sizes.map((size) => 2 * size)), 3);
print(stores, ingest, refresh!);
save(ingest);
report(`written to ${options.out}`);
child.disconnect();
await retriever.dispose();
