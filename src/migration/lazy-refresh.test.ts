import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { stampNow } from '../store/columns.ts';
import { indexPassages } from '../store/index-passages.ts';
import { type RefreshRecord, readRefresh } from '../store/refresh-file.ts';
import { stalePassages } from '../store/staleness.ts';
import { Store } from '../store/store.ts';
import { formatHead } from '../store/store-head.ts';
import { storeStatus } from '../store/store-status.ts';
import { LazyRefresh, type RefreshOptions } from './lazy-refresh.ts';
import { startMigration } from './migrate-store.ts';
import { type EmbeddedPart, type RowKeeper, storeKeeper } from './row-keeper.ts';

const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const to = embeddingSpaceId(fresh);
const textOf = (i: number) => phraseText([i, i * 7, i * 13, i * 29, i >> 3]);

async function migrating(rows = 120): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  const passages = Array.from({ length: rows }, (_, i) => ({ id: `p${i}`, text: textOf(i) }));
  await indexPassages(store, old, passages, { model: 'old', ...compute });
  await startMigration(store, fresh, { sample: 20, correctors: ['ridge'], ...compute });
  return store;
}
const refreshOf = (store: Store, options: RefreshOptions = {}) =>
  new LazyRefresh(storeKeeper(store, fresh, to, compute), options);

/** Keeper of 100 rows in memory that writes down what it is asked to do. */
function fakeKeeper(drift: (row: number) => number, embedMs = 0) {
  const stale = new Set(Array.from({ length: 100 }, (_, i) => i));
  const embedded: number[][] = [];
  const commits: number[][] = [];
  let saved: RefreshRecord = { space: 's', met: [], rate: null };
  const keeper: RowKeeper = {
    space: 's',
    count: async () => 100,
    stale: async () => [...stale],
    drift: async (rows) => rows.map(drift),
    read: async (rows) => rows.map((pid) => ({ pid, id: `${pid}`, title: '', text: '', metadata: null })),
    async embed(passages) {
      embedded.push(passages.map(({ pid }) => pid));
      if (embedMs > 0) await new Promise((resolve) => setTimeout(resolve, embedMs));
      return new Float32Array(passages.length);
    },
    async put(parts: readonly EmbeddedPart[]) {
      const pids = parts.flatMap(({ passages }) => passages.map(({ pid }) => pid));
      for (const pid of pids) stale.delete(pid);
      commits.push(pids);
      return pids.length;
    },
    tidy: async () => {},
    load: async () => saved,
    async save(record) {
      saved = record;
    },
  };
  return { keeper, embedded, commits, saved: () => saved };
}

describe('a lazy refresh', () => {
  it('takes the rows first that searches have found most, weighted by their drift', async () => {
    const { keeper, commits } = fakeKeeper((row) => (row === 70 ? 2 : 0.1));
    const refresh = new LazyRefresh(keeper, { commitRows: 5 });
    await refresh.load();
    refresh.notice([50, 60, 50, 60, 60, 70, 200]);
    expect(refresh.status).toMatchObject({ stale: 100, queue: 3 });
    await refresh.run({ most: 10 });
    // 70: 1 · 2; 60: 3 · 0.1; 50: 2 · 0.1; then by number.
    expect(commits).toEqual([
      [70, 60, 50, 0, 1],
      [2, 3, 4, 5, 6],
    ]);
    expect(refresh.status).toMatchObject({ stale: 90, queue: 0, embedded: 10 });
    expect(refresh.status.rate!.passagesPerSecond).toBeGreaterThan(0);
  });

  it('takes the others by drift, if it shall', async () => {
    const { keeper, commits } = fakeKeeper((row) => row % 10);
    const refresh = new LazyRefresh(keeper, { commitRows: 4, refreshOrder: 'drift' });
    await refresh.load();
    refresh.notice([31]);
    await refresh.run({ most: 4 });
    expect(commits).toEqual([[31, 9, 19, 29]]);
  });

  it('keeps within its share of the time, in pieces', async () => {
    const { keeper, embedded } = fakeKeeper(() => 1, 20);
    const refresh = new LazyRefresh(keeper, { workShare: 0.25, pieceMs: 20, commitRows: 64 });
    const startMs = performance.now();
    await refresh.run({ most: 64 });
    expect(embedded.length).toBeGreaterThan(2);
    expect(performance.now() - startMs).toBeGreaterThan(embedded.length * 20 * 4 * 0.9);
  });

  it('keeps within its rows per minute', async () => {
    const { keeper, embedded } = fakeKeeper(() => 1);
    const refresh = new LazyRefresh(keeper, { rowsPerMinute: 600 });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 700);
    const { embedded: rows } = await refresh.run({ signal: controller.signal });
    // The 16 rows of the first piece are the budget of 1.6 seconds.
    expect(rows).toBe(16);
    expect(embedded).toHaveLength(1);
  });

  it('commits what is embedded when it is stopped, and saves its counts', async () => {
    const { keeper, commits, saved } = fakeKeeper(() => 1, 30);
    const refresh = new LazyRefresh(keeper, { pieceMs: 30 });
    await refresh.load();
    refresh.notice([99, 98, 99]);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 45);
    const { embedded, stale } = await refresh.run({ signal: controller.signal });
    expect(commits).toHaveLength(1);
    expect(embedded).toBe(commits[0]!.length);
    expect(stale).toBe(100 - embedded);
    expect(commits[0]!.slice(0, 2)).toEqual([99, 98]);
    expect(saved().met).toEqual([]);
  });

  it('embeds the passages of a store, with stamps, and goes on with the queue of an earlier process', async () => {
    const store = await migrating();
    const first = refreshOf(store, { commitRows: 10 });
    await first.load();
    const stale = await stalePassages(await store.snapshot(), to);
    expect(stale).toHaveLength(100);
    const met = [stale[90]!, stale[80]!, stale[70]!];
    first.notice([...met, met[0]!, 5000]);
    await first.save();
    expect(await storeStatus(store)).toMatchObject({
      staleness: {
        stale: 100,
        corrected: 100,
        missing: 0,
        versions: [{ space: to, passages: 20 }, { passages: 100 }],
      },
      migration: { to, embedded: 20 },
      refresh: { stale: 100, queue: 3, rate: null, secondsLeft: null },
    });

    const second = refreshOf(await Store.open(store.folder), { commitRows: 10 });
    await second.load();
    expect(second.status.queue).toBe(3);
    expect(await second.run({ most: 10 })).toEqual({ embedded: 10, stale: 90 });
    await store.reload();
    const left = new Set(await stalePassages(await store.snapshot(), to));
    expect(met.filter((pid) => left.has(pid))).toEqual([]);
    expect([...left]).toEqual(stale.filter((pid) => !met.includes(pid)).slice(7));
    const { refresh } = await storeStatus(store);
    expect(refresh).toMatchObject({ stale: 90, queue: 0 });
    expect(refresh!.secondsLeft).toBeCloseTo(90 / refresh!.rate!.passagesPerSecond);

    expect(await second.run()).toEqual({ embedded: 90, stale: 0 });
    await store.reload();
    const { embeddings, passages } = await store.snapshot();
    for await (const { pids, vectors } of embeddings(to).stream()) {
      const texts = (await passages.read([...pids])).map(({ text }) => text);
      const right = await fresh.encode('document', texts, compute);
      for (const [i, value] of right.entries()) expect(vectors[i]).toBeCloseTo(value, 5);
    }
  });

  it('leaves out passages whose text has changed since they were embedded, and those of other processes', async () => {
    const store = await migrating();
    const keeper = storeKeeper(store, fresh, to, compute);
    const [a, b, c] = await keeper.stale();
    const passages = await keeper.read([a!, b!]);
    const part = { passages, vectors: await keeper.embed(passages) };
    const other = await Store.open(store.folder);
    await indexPassages(other, old, [{ id: `p${a}`, text: 'calls returns array' }], compute);
    expect(await keeper.put([part])).toBe(1);
    expect((await keeper.stale()).slice(0, 2)).toEqual([a, c]);
    expect((await keeper.read([b!, c!])).map(({ pid }) => pid)).toEqual([c]);
  });

  it('embeds rows of an earlier step again', async () => {
    const store = await migrating();
    await refreshOf(store).run();
    const trained = { ...store.head, spaces: store.head.spaces.map((space) => ({ ...space, steps: 40 })) };
    writeFileSync(join(store.folder, 'store.json'), formatHead(trained));
    await store.reload();
    const some = Int32Array.from([3, 4]);
    await store.commit((draft) =>
      draft.embeddings(to).put(stampNow(some, new Float32Array(64).fill(0.1), 39)),
    );
    expect((await storeStatus(store)).staleness).toMatchObject({
      stale: 120,
      versions: [
        { step: 0, passages: 118 },
        { step: 39, passages: 2 },
      ],
      ageSteps: { median: 40, p90: 40, oldest: 40 },
    });
    expect(await refreshOf(store).run()).toEqual({ embedded: 120, stale: 0 });
    expect((await storeStatus(store)).staleness).toMatchObject({
      stale: 0,
      versions: [{ step: 40, passages: 120, share: 1 }],
      ageSteps: { oldest: 0 },
    });
  });

  it('begins with an empty queue where the file is damaged or of another space', async () => {
    const store = await migrating();
    const refresh = refreshOf(store);
    await refresh.load();
    refresh.notice(await stalePassages(await store.snapshot(), to));
    await refresh.save();
    expect((await readRefresh(store, to)).met).toHaveLength(100);
    expect((await readRefresh(store, 'other')).met).toHaveLength(0);
    const file = join(store.folder, 'refresh.json');
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, 50));
    expect((await readRefresh(store, to)).met).toHaveLength(0);
  });
});
