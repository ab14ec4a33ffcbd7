import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterPassages, storeWithoutVectors, vectorsOf } from '../../test/cluster-stores.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { UsageError } from '../util/errors.ts';
import { askShard } from './ask.ts';
import { type Cluster, connectCluster } from './cluster.ts';
import { runOverCluster } from './cluster-run.ts';
import { clusterStatus } from './cluster-status.ts';
import { runCoordinator } from './coordinator.ts';
import { publishDeadLetter, readDeadLetters, removeDeadLetters } from './dead-letters.ts';
import { publishResults } from './delivery.ts';
import { forgetShard } from './forget-shard.ts';
import { Lease } from './lease.ts';
import { Owner } from './owner.ts';
import { encodeResults, HEADERS } from './row-messages.ts';
import type { EmbeddedRows, RowTokens, ShardKeeper } from './shard-keeper.ts';
import { readShard, writeShard } from './shard-record.ts';
import { type StoreShard, storeShard } from './store-shard.ts';
import { type ClusterStreams, ensureStreams, keysOf } from './streams.ts';
import { runWorker } from './worker.ts';

describe.skipIf(noNats !== undefined)(`guards of a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  const retriever = smallRetriever({ kind: 'static' });
  const space = embeddingSpaceId(retriever);
  const passages = clusterPassages(1100);
  let servers: NatsServers;
  const ends: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    process.env.UNDRIFT_CACHE = tempFiles();
    servers = await startNats({ room: 2 ** 33 });
  });
  afterAll(async () => {
    delete process.env.UNDRIFT_CACHE;
    for (const end of ends) await end();
    await servers.stop();
  });

  async function begin(name: string) {
    const cluster = await connectCluster(`${servers.address}/${name}`);
    const streams = await ensureStreams(cluster, { ackWaitMs: 1000, leaseMs: 1500 });
    const store = await storeWithoutVectors(retriever, passages);
    const shard = storeShard(store, { name: 'docs', model: retriever });
    ends.push(async () => {
      await cluster.close();
      await store.close();
    });
    return { cluster, streams, store, shard };
  }

  /** Keeper that does something else in one of its functions. */
  const changed = (shard: StoreShard, other: Partial<ShardKeeper>): ShardKeeper => ({
    name: shard.name,
    wanted: () => shard.wanted(),
    stale: (options) => shard.stale(options),
    tokens: (rows) => shard.tokens(rows),
    put: (results) => shard.put(results),
    counts: () => shard.counts(),
    ...other,
  });

  /** Results of the first rows of a shard. */
  async function resultsOf(shard: StoreShard, count: number): Promise<EmbeddedRows> {
    const { rows, marks } = await shard.tokens(Uint32Array.from({ length: count }, (_, row) => row));
    const vectors = Float32Array.from({ length: count * retriever.dimension }, (_, i) => Math.cos(i));
    return { version: space, rows, marks, vectors };
  }

  /** Waits until no result waits for its owner. */
  async function resultsGone({ manager, names }: Cluster) {
    while ((await manager.streams.info(names.results)).state.messages > 0) await sleep(20);
  }

  async function works(cluster: Cluster, streams: ClusterStreams, work: () => Promise<void>) {
    const stop = new AbortController();
    const worker = runWorker(cluster, streams, { threads: 1, signal: stop.signal });
    try {
      await work();
    } finally {
      stop.abort();
      await worker;
    }
  }

  it.concurrent('a poisoned block is given up after five attempts, shown, and tried again on request', async () => {
    const { cluster, streams, shard, store } = await begin('poison');
    // Token ids that no vocabulary has, in the second block.
    const poisoned = async (rows: Uint32Array): Promise<RowTokens> => {
      const tokens = await shard.tokens(rows);
      return rows[0] === 0 ? tokens : { ...tokens, tokens: tokens.tokens.map(() => 65_000) };
    };
    await works(cluster, streams, async () => {
      const outcome = await runOverCluster(changed(shard, { tokens: poisoned }), cluster);
      expect(outcome).toEqual({ ended: 'done', stored: 1024, stale: 76, givenUp: 76 });
      const [letter, ...others] = await readDeadLetters(cluster, 'docs');
      expect(others).toEqual([]);
      expect(letter).toMatchObject({
        shard: 'docs',
        version: space,
        rows: Uint32Array.from({ length: 76 }, (_, i) => 1024 + i),
      });
      const status = await clusterStatus(cluster, streams);
      expect(status.deadLetters).toMatchObject([{ rows: '1024-1099', reason: letter!.reason }]);
      expect(status.shards).toMatchObject([{ name: 'docs', deadLetters: 1, stale: 76, hasOwner: false }]);
      await clusterStatus(cluster, streams);
      // Nothing that was read leaves a consumer on the server.
      const { manager, names } = cluster;
      const streamsRead = [names.dead, `KV_${names.control}`, `KV_${names.live}`];
      const counts = await Promise.all(
        streamsRead.map(async (name) => (await manager.streams.info(name)).state.consumer_count),
      );
      expect(counts).toEqual([0, 0, 0]);
      await removeDeadLetters(cluster, 'docs');
      expect(await runOverCluster(shard, cluster)).toEqual({
        ended: 'done',
        stored: 76,
        stale: 0,
        givenUp: 0,
      });
    });
    expect((await vectorsOf(store, space)).size).toBe(1100);
  });

  it.concurrent('results that are doubled, of another version, or of a text that has changed are not stored', async () => {
    const { cluster, streams, store, shard } = await begin('late');
    const owner = await Owner.start(cluster, streams, shard);
    const results = await resultsOf(shard, 20);
    await indexPassages(
      store,
      smallRetriever({ kind: 'static', seed: 9 }),
      [{ id: 'p3', text: 'another text' }],
      { threads: 1 },
    );
    const send = async (some: EmbeddedRows) => {
      await publishResults(cluster, 'docs', some, { attempt: `${Math.random()}` });
      await resultsGone(cluster);
      return owner.stored;
    };
    expect(await send({ ...results, version: 'other' })).toBe(0);
    expect(await send({ ...results, vectors: results.vectors.subarray(0, 20) })).toBe(0);
    expect(await send(results)).toBe(19);
    const before = await vectorsOf(store, space);
    expect([...before.keys()].sort()).toEqual(
      passages
        .slice(0, 20)
        .flatMap(({ id }) => (id === 'p3' ? [] : id))
        .sort(),
    );
    expect(await send({ ...results, vectors: results.vectors.map((value) => -value) })).toBe(19);
    expect(await vectorsOf(store, space)).toEqual(before);
    await owner.close();
  });

  it.concurrent('a result with another digest than that of its header is dropped and shown', async () => {
    const { cluster, streams, store, shard } = await begin('digest');
    const notes: string[] = [];
    const owner = await Owner.start(cluster, streams, shard, { onNote: (note) => notes.push(note) });
    const [part] = encodeResults(await resultsOf(shard, 5), 'x', 1 << 20);
    const headers = cluster.nats.transport.headers();
    for (const [name, value] of Object.entries(part!.headers)) headers.set(name, value);
    const body = Uint8Array.from(part!.body);
    body[100]! ^= 4;
    await cluster.stream.publish(cluster.names.resultSubject('docs'), body, { headers });
    headers.set(HEADERS.digest, '');
    await cluster.stream.publish(cluster.names.resultSubject('docs'), new Uint8Array(0), { headers });
    await resultsGone(cluster);
    expect((await vectorsOf(store, space)).size).toBe(0);
    expect(notes).toEqual(
      Array(2).fill('docs: a result is damaged: its digest is another than that of its header'),
    );
    expect((await readDeadLetters(cluster)).map(({ reason }) => reason)).toEqual(
      Array(2).fill('a result is damaged: its digest is another than that of its header'),
    );
    await owner.close();
  });

  it.concurrent('an owner that ends between storing and acknowledging loses nothing, and stores nothing twice', async () => {
    const { cluster, streams, store, shard } = await begin('between');
    const own = await connectCluster(`${servers.address}/between`);
    let isStored = () => {};
    const stored = new Promise<void>((resolve) => {
      isStored = resolve;
    });
    // It stores, and is gone before it can say so.
    const dying = changed(shard, {
      put: async (results) => {
        await shard.put(results);
        isStored();
        return await new Promise<never>(() => {});
      },
    });
    await Owner.start(own, await ensureStreams(own), dying);
    await publishResults(cluster, 'docs', await resultsOf(shard, 30), { attempt: 'a' });
    await stored;
    await own.connection.close();
    const before = await vectorsOf(store, space);
    expect(before.size).toBe(30);
    const owner = await Owner.start(cluster, streams, shard, { waitMs: 10_000 });
    await resultsGone(cluster);
    expect(owner.stored).toBe(0);
    expect(await vectorsOf(store, space)).toEqual(before);
    await owner.close();
  });

  it.concurrent('a full disk is told, and nothing is lost', async () => {
    const { cluster, streams, store, shard } = await begin('full');
    const notes: string[] = [];
    let tries = 0;
    const full = changed(shard, {
      put: async (results) => {
        tries += 1;
        if (tries === 1)
          throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
        return await shard.put(results);
      },
    });
    const owner = await Owner.start(cluster, streams, full, { onNote: (note) => notes.push(note) });
    await publishResults(cluster, 'docs', await resultsOf(shard, 30), { attempt: 'a' });
    await resultsGone(cluster);
    expect(tries).toBe(2);
    expect(notes).toEqual(['docs cannot store: ENOSPC: no space left on device, write']);
    expect((await vectorsOf(store, space)).size).toBe(30);
    await owner.close();
  });

  it.concurrent('results that wait for a run are stored while its owner is still starting', async () => {
    const { cluster, shard } = await begin('waiting');
    const notes: string[] = [];
    await publishResults(cluster, 'docs', await resultsOf(shard, 30), { attempt: 'a' });
    let counts = 0;
    const slow = changed(shard, {
      // Counting the rows of a large shard takes its time, here where the owner first tells of it.
      counts: async () => {
        counts += 1;
        if (counts === 2) await sleep(1500);
        return await shard.counts();
      },
    });
    const outcome = await runOverCluster(slow, cluster, { stallMs: 200, onNote: (note) => notes.push(note) });
    expect(outcome).toMatchObject({ ended: 'stalled', stored: 30, stale: 1070 });
    expect(notes).toEqual([]);
  });

  it.concurrent('an owner that is publishing a model tells of its rows, and ends without it', async () => {
    const { cluster, streams, shard } = await begin('publishing');
    let isPublishing = () => {};
    const publishing = new Promise<void>((resolve) => {
      isPublishing = resolve;
    });
    const models = Object.assign(Object.create(streams.models), {
      put: () => {
        isPublishing();
        return new Promise<never>(() => {});
      },
    });
    const owner = await Owner.start(cluster, { ...streams, models }, shard);
    const asked = askShard(cluster, 'docs', 'stale', {
      body: Buffer.from(JSON.stringify({ after: -1, blocks: 1 })),
      timeoutMs: 100,
    });
    await expect(asked).rejects.toThrow('has not answered');
    await publishing;
    await publishResults(cluster, 'docs', await resultsOf(shard, 5), { attempt: 'a' });
    await resultsGone(cluster);
    await owner.close();
    expect(await readShard(streams, 'docs')).toMatchObject({ stored: 5, model: '' });
  });

  it.concurrent('a question to an owner that is silent ends with its signal', async () => {
    const { cluster } = await begin('silent');
    const silent = cluster.connection.subscribe(cluster.names.askSubject('docs', 'stale'));
    const startMs = performance.now();
    const asked = askShard(cluster, 'docs', 'stale', {
      timeoutMs: 60_000,
      signal: AbortSignal.timeout(100),
    });
    await expect(asked).rejects.toThrow(/has not answered within \d+ ms/);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    silent.unsubscribe();
  });

  it.concurrent('an owner that is silent does not hold up the other shards', async ({ expect }) => {
    const { cluster, streams, shard } = await begin('beside');
    const owner = await Owner.start(cluster, streams, shard);
    const silent = cluster.connection.subscribe(cluster.names.askSubject('a', 'stale'));
    await writeShard(streams, { ...(await readShard(streams, 'docs'))!, name: 'a' });
    const stop = new AbortController();
    const coordinating = runCoordinator(cluster, streams, { signal: stop.signal });
    const { manager, names } = cluster;
    const tasks = async () => (await manager.streams.info(names.tasks)).state.messages;
    await expect.poll(tasks, { timeout: 20_000 }).toBe(2);
    stop.abort();
    await coordinating;
    silent.unsubscribe();
    await owner.close();
  });

  it.concurrent('a shard without an owner is forgotten on request, with all that is under way, and can be made anew', async ({
    expect,
  }) => {
    const { cluster, streams, shard } = await begin('forget');
    await expect(forgetShard(cluster, streams, 'docs')).rejects.toThrow(/has no shard docs/);
    const owner = await Owner.start(cluster, streams, shard);
    const stop = new AbortController();
    const coordinating = runCoordinator(cluster, streams, { periodMs: 50, signal: stop.signal });
    const isCoordinated = async () => (await streams.live.get('coordinator.docs'))?.operation === 'PUT';
    await expect.poll(isCoordinated, { timeout: 30_000 }).toBe(true);
    await expect(forgetShard(cluster, streams, 'docs')).rejects.toThrow(
      'the shard docs has an owner that runs',
    );
    await owner.close();
    await publishResults(cluster, 'docs', await resultsOf(shard, 10), { attempt: 'a' });
    await publishDeadLetter(cluster, {
      shard: 'docs',
      version: space,
      rows: Uint32Array.of(1),
      reason: 'test',
    });
    // A refresh has no record when it has ended.
    const refresh = { shard: 'train-1', version: space, rows: Uint32Array.of(1), reason: 'test' };
    await publishDeadLetter(cluster, refresh);
    for (const name of ['docs', 'train-1']) await forgetShard(cluster, streams, name);
    const { shards, deadLetters } = await clusterStatus(cluster, streams);
    expect({ shards, deadLetters }).toEqual({ shards: [], deadLetters: [] });
    expect(await keysOf(streams, cluster.names.control, 'shard.')).toEqual([]);
    await expect.poll(isCoordinated, { timeout: 30_000 }).toBe(false);
    stop.abort();
    await coordinating;
    await resultsGone(cluster);
    await (await Owner.start(cluster, streams, shard, { waitMs: 0 })).close();
  });

  it.concurrent('a shard has one owner', async () => {
    const { cluster, streams, shard } = await begin('owners');
    const owner = await Owner.start(cluster, streams, shard);
    const second = Owner.start(cluster, streams, shard, { waitMs: 0 });
    await expect(second).rejects.toThrow('the shard docs has an owner that runs');
    await expect(second).rejects.toBeInstanceOf(UsageError);
    await owner.close();
    await (await Owner.start(cluster, streams, shard, { waitMs: 0 })).close();
  });

  it.concurrent('a lease that is not renewed goes to another, and its former holder knows', async ({
    expect,
  }) => {
    const { streams } = await begin('lease');
    const key = 'coordinator.x';
    let lost = 0;
    const first = await Lease.take(streams, key, () => {
      lost += 1;
    });
    expect(first?.isHeld).toBe(true);
    expect(await Lease.take(streams, key, () => {})).toBeUndefined();
    // Renewals keep it beyond its life, also after one of which the answer was lost, and after the server has forgotten it.
    await sleep(2000);
    expect(first?.isHeld).toBe(true);
    await streams.live.put(key, (await streams.live.get(key))!.value);
    await sleep(1200);
    await streams.live.purge(key);
    await sleep(1200);
    expect(first?.isHeld).toBe(true);
    expect(await Lease.take(streams, key, () => {})).toBeUndefined();
    await streams.live.put(key, JSON.stringify({ other: 'process' }));
    await expect.poll(() => lost, { timeout: 5000 }).toBe(1);
    expect(first?.isHeld).toBe(false);
    await first!.release();
    expect((await streams.live.get(key))?.string()).toContain('other');
    await expect.poll(() => Lease.take(streams, key, () => {}), { timeout: 10_000 }).toBeDefined();
  });

  it.concurrent('a run ends when nothing is stored for long, and by its signal', async () => {
    const { cluster, shard } = await begin('stall');
    expect(await runOverCluster(shard, cluster, { stallMs: 500 })).toMatchObject({
      ended: 'stalled',
      stored: 0,
      stale: 1100,
    });
    const stop = AbortSignal.timeout(300);
    expect(await runOverCluster(shard, cluster, { signal: stop, temporary: true })).toMatchObject({
      ended: 'aborted',
    });
    const { manager, names } = cluster;
    expect((await manager.streams.info(names.tasks)).state.messages).toBe(0);
  });
});
