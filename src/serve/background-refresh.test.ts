import { join } from 'node:path';
import { describe, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { backfill } from '../migration/backfill.ts';
import { cutOver, rollBack, startMigration } from '../migration/migrate-store.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { readRefresh } from '../store/refresh-file.ts';
import { stalePassages } from '../store/staleness.ts';
import { Store } from '../store/store.ts';
import { type RunningServer, type ServeOptions, serveStore } from './server.ts';

const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(fresh)];
const ROWS = 300;
const textOf = (i: number) => phraseText([i, i * 7, i * 13, i * 29, i >> 3]);

async function indexed(): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  const passages = Array.from({ length: ROWS }, (_, i) => ({ id: `p${i}`, text: textOf(i) }));
  await indexPassages(store, old, passages, { model: 'old', ...compute });
  return store;
}
const start = (store: Store) =>
  startMigration(store, fresh, { sample: 20, correctors: ['ridge'], ...compute });

async function serving<T>(store: Store, options: ServeOptions, use: (server: RunningServer) => Promise<T>) {
  const server = await serveStore(store.folder, { port: 0, threads: 1, ...options });
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}
const get = async (server: RunningServer, path: string) => (await fetch(server.url + path)).text();
const status = async (server: RunningServer) => JSON.parse(await get(server, '/status'));
const search = async (server: RunningServer, query: string) =>
  await (
    await fetch(`${server.url}/search`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, topK: 5, mode: 'dense' }),
    })
  ).json();

// Servers work and rest beside each other.
describe('a server', () => {
  it.concurrent('goes on with the backfill of a migration, and shows its progress', {
    timeout: 60_000,
  }, async ({ expect }) => {
    const store = await indexed();
    await start(store);
    await serving(store, { refresh: {} }, async (server) => {
      await expect.poll(async () => (await status(server)).migration.share, { timeout: 30_000 }).toBe(1);
      expect(await status(server)).toMatchObject({
        staleness: { stale: 0, corrected: 0, versions: [{ space: to, passages: ROWS }] },
        migration: { from, to, embedded: ROWS },
        refresh: { stale: 0, queue: 0, embedded: ROWS - 20, failure: null, secondsLeft: 0 },
      });
      expect((await status(server)).refresh.rate.passagesPerSecond).toBeGreaterThan(1);
      const metrics = await get(server, '/metrics');
      expect(metrics).toMatch(/^undrift_stale_passages 0$/m);
      expect(metrics).toMatch(new RegExp(`^undrift_refreshed_passages ${ROWS - 20}$`, 'm'));
    });
    await store.reload();
    await cutOver(store);
  });

  it.concurrent('embeds first what searches have found, and keeps what is committed when it is stopped', {
    timeout: 60_000,
  }, async ({ expect }) => {
    const store = await indexed();
    await start(store);
    // 16 passages of the first piece, then a rest of 16 seconds in which the server is closed.
    const found = await serving(store, { refresh: { rowsPerMinute: 60 } }, async (server) => {
      const stale = new Set(await stalePassages(await store.snapshot(), to));
      const { results } = (await search(server, textOf(250))) as { results: { pid: number }[] };
      await expect
        .poll(async () => (await status(server)).refresh.queue, { timeout: 10_000 })
        .toBeGreaterThan(0);
      return results.map(({ pid }) => pid).filter((pid) => stale.has(pid));
    });
    await store.reload();
    const { met, rate } = await readRefresh(store, to);
    const stale = await stalePassages(await store.snapshot(), to);
    expect(stale.length).toBeLessThan(ROWS - 20);
    expect(stale.length).toBeGreaterThan(ROWS - 60);
    expect(rate).not.toBeNull();
    const left = found.filter((pid) => stale.includes(pid));
    expect(met.map(({ pid }) => pid).sort()).toEqual(left.sort());
    await serving(store, { refresh: { rowsPerMinute: 60 } }, async (server) => {
      await expect
        .poll(async () => (await status(server)).refresh.embedded, { timeout: 10_000 })
        .toBeGreaterThan(0);
    });
    await store.reload();
    const after = await stalePassages(await store.snapshot(), to);
    expect(found.filter((pid) => after.includes(pid))).toEqual([]);
  });

  it.concurrent('follows other processes into another space and back', { timeout: 60_000 }, async ({
    expect,
  }) => {
    const store = await indexed();
    await serving(store, { refresh: {} }, async (server) => {
      expect((await status(server)).migration).toBeNull();
      await start(store);
      await expect.poll(async () => (await status(server)).migration?.share, { timeout: 30_000 }).toBe(1);
      await rollBack(store, old, compute);
      await store.commit(async (draft) => draft.embeddings(from).remove([7]));
      await expect
        .poll(async () => (await status(server)).spaces.map(({ rows }: { rows: number }) => rows), {
          timeout: 30_000,
        })
        .toEqual([ROWS, ROWS]);
      expect(await search(server, textOf(7))).toMatchObject({ results: [{}, {}, {}, {}, {}] });
    });
  });

  it.concurrent('says what is left when other processes have embedded passages too', {
    timeout: 60_000,
  }, async ({ expect }) => {
    const store = await indexed();
    await start(store);
    await serving(store, { refresh: { rowsPerMinute: 60 } }, async (server) => {
      await expect.poll(async () => (await status(server)).refresh.working, { timeout: 30_000 }).toBe(true);
      await store.reload();
      await backfill(store, fresh, { until: 0.8, ...compute });
      await expect
        .poll(async () => (await status(server)).migration.share, { timeout: 30_000 })
        .toBeGreaterThanOrEqual(0.8);
      const { refresh, staleness } = await status(server);
      expect(staleness.stale).toBeLessThanOrEqual(0.2 * ROWS);
      expect(refresh.stale).toBe(staleness.stale);
    });
  });

  it.concurrent('leaves stale passages alone if it shall, or only reads', { timeout: 60_000 }, async ({
    expect,
  }) => {
    const store = await indexed();
    await start(store);
    for (const options of [{ refresh: false as const }, { readOnly: true }]) {
      await serving(store, options, async (server) => {
        await search(server, textOf(3));
        expect((await status(server)).refresh).toEqual({
          stale: ROWS - 20,
          queue: 0,
          rate: null,
          secondsLeft: null,
        });
      });
    }
    await store.reload();
    expect(await stalePassages(await store.snapshot(), to)).toHaveLength(ROWS - 20);
  });
});
