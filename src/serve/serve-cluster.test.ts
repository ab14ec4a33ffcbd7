import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPage, chromiumPath, NO_CHROMIUM } from '../../test/chromium.ts';
import { clusterPassages } from '../../test/cluster-stores.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { type Cluster, connectCluster } from '../cluster/cluster.ts';
import { Owner } from '../cluster/owner.ts';
import { ShardSearch } from '../cluster/shard-search.ts';
import { storeShard } from '../cluster/store-shard.ts';
import { ensureStreams } from '../cluster/streams.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { serveCluster } from './serve-cluster.ts';
import type { RunningServer } from './server.ts';

const program = chromiumPath();
/** Patience with a busy machine. */
const SLOW = { timeout: 20_000 };

describe.skipIf(noNats !== undefined)(`a server over a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  const folder = tempFiles({});
  const retriever = smallRetriever({ kind: 'static' });
  let servers: NatsServers;
  let cluster: Cluster;
  let server: RunningServer;
  const owners: { readonly owner: Owner; readonly search: ShardSearch; readonly store: Store }[] = [];

  beforeAll(async () => {
    servers = await startNats();
    const address = `${servers.address}/serve`;
    cluster = await connectCluster(address);
    const streams = await ensureStreams(cluster, { ackWaitMs: 3000, leaseMs: 3000, resultBytes: 1 << 24 });
    for (const part of ['1/2', '2/2']) {
      const name = `part-${part[0]}`;
      const create = { language: 'any', stem: false, stopWords: false };
      const store = await Store.open(join(folder, name), { create });
      await indexPassages(store, retriever, clusterPassages(60), { threads: 1, part });
      const search = new ShardSearch(store, { threads: 1 });
      const owner = await Owner.start(cluster, streams, storeShard(store, { name }), {
        answers: search.answers,
      });
      owners.push({ owner, search, store });
    }
    server = await serveCluster({ address, connection: {} }, { port: 0, deadlineMs: 4000 });
  });
  afterAll(async () => {
    await server?.close();
    for (const { owner, search, store } of owners) {
      await owner.close();
      await search.dispose();
      await store.close();
    }
    await cluster.close();
    await servers.stop();
    await retriever.dispose();
  });

  const send = async (path: string, body?: object) => {
    const response = await fetch(server.url + path, {
      ...(body && {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  };

  it('searches all shards, describes the cluster, and changes nothing', async () => {
    const { status, json } = await send('/search', { query: 'reads a whole file', topK: 4 });
    expect(status).toBe(200);
    expect(json).toMatchObject({ mode: 'hybrid', partial: false, missing: [], shards: 2 });
    const results = json.results as { id: string; shard: string }[];
    expect(results).toHaveLength(4);
    expect(results.every(({ shard }) => /^part-[12]$/.test(shard))).toBe(true);
    const described = await send('/status');
    expect(described.json).toMatchObject({
      rows: 60,
      stale: 0,
      shards: [{ name: 'part-1', workers: 0, secondsLeft: 0 }, { name: 'part-2' }],
    });
    expect((await send('/health')).json).toEqual({ ok: true });
    expect((await send('/passages', { passages: [] })).status).toBe(404);
    const wrong = await send('/search', { query: 'x', space: 'abc' });
    expect(wrong.status).toBe(400);
    expect((await send('/search', { query: 'x', mode: 'hybrid', minScore: 1 })).status).toBe(400);
    expect(JSON.stringify((await send('/openapi.json')).json)).not.toContain('/passages');
  });

  it('marks answers that lack a shard, and counts them', async () => {
    await owners[1]!.owner.close();
    const { status, json } = await send('/search', { query: 'reads a whole file', topK: 4 });
    expect(status).toBe(200);
    expect(json).toMatchObject({
      partial: true,
      missing: [{ shard: 'part-2', reason: 'the shard part-2 has no owner' }],
    });
    const results = json.results as { shard: string }[];
    expect(results.map(({ shard }) => shard)).toEqual(new Array(4).fill('part-1'));
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(/^undrift_partial_answers 1$/m);
  });

  it.skipIf(!program)(
    `has a page that searches, and shows shards${program ? '' : `: ${NO_CHROMIUM}`}`,
    { timeout: 120_000 },
    async () => {
      const page = await ChromiumPage.open(program!);
      const text = (selector: string) =>
        page.evaluate<string>(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ''`);
      try {
        await page.goto(server.url);
        await expect.poll(() => text('#store'), SLOW).toMatch(/^60 passages · 2 shards · 0 workers · nats:/);
        expect(await text('#cluster-text')).toBe('60 of 60 passages (100.0 %)');
        expect(await text('#age-legend')).toMatch(/ · step 0 60$/);
        expect(await text('#shards li:nth-child(1)')).toMatch(/^part-1\d+ of \d+ passages/);
        // The state is kept for a moment, and the page asks for it again when it is seen again.
        await expect
          .poll(async () => {
            await page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
            return await text('#shards li:nth-child(2) .warning');
          }, SLOW)
          .toBe('no owner');
        expect(await text('#workers')).toBe('No worker runs.');
        expect(await page.evaluate(`document.querySelectorAll('#shards .age-0').length`)).toBe(2);
        await page.evaluate(`document.getElementById('query').focus()`);
        await page.evaluate(`document.getElementById('query').value = 'reads a whole file'`);
        await page.press('Enter');
        await expect
          .poll(() => text('.partial'), SLOW)
          .toBe('Partial: 1 of 2 shards missing: part-2 (the shard part-2 has no owner)');
        expect(await text('.hit .facts')).toContain('shard part-1');
        await page.press('ArrowDown');
        expect(await page.evaluate(`document.activeElement.matches('.hit')`)).toBe(true);
        await page.screen({ width: 360, height: 700, phone: true, dark: true });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
        const others = page.complaints.filter((complaint) => !complaint.startsWith('request: '));
        expect(others).toEqual([]);
      } finally {
        await page.close();
      }
    },
  );
});
