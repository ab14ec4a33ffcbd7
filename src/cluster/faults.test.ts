import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { clusterPassages, localVectors, storeWithoutVectors, vectorsOf } from '../../test/cluster-stores.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { startUndrift, type UndriftProcess } from '../../test/undrift-process.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Store } from '../store/store.ts';
import { type Cluster, connectCluster } from './cluster.ts';
import type { ClusterStatus } from './cluster-status.ts';
import { readShard } from './shard-record.ts';
import { type ClusterStreams, ensureStreams } from './streams.ts';

const ROWS = 6000;

describe.skipIf(noNats !== undefined)(`faults of a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const space = embeddingSpaceId(retriever);
  const passages = clusterPassages(ROWS);
  const cache = { UNDRIFT_CACHE: tempFiles() };
  let servers: NatsServers;
  let expected: Map<string, Float32Array>;
  let started: UndriftProcess[] = [];
  beforeAll(async () => {
    servers = await startNats({ room: 2 ** 32 });
    expected = await localVectors(retriever, passages);
  }, 120_000);
  afterAll(() => servers.stop());
  afterEach(async () => {
    await Promise.all(started.map((each) => each.end('SIGKILL')));
    started = [];
  });

  /** Cluster of a test, with a store without vectors. */
  async function begin(name: string) {
    const address = `${servers.address}/${name}`;
    const cluster = await connectCluster(address);
    const streams = await ensureStreams(cluster, { ackWaitMs: 2000, leaseMs: 2000 });
    const store = await storeWithoutVectors(retriever, passages);
    const run = (...argv: string[]) => {
      const child = startUndrift(['cluster', ...argv, '--nats', address], cache);
      started.push(child);
      return child;
    };
    const owner = () => run('owner', '--store', store.folder, '--shards', 'docs');
    const worker = () => run('worker', '--threads', '1');
    return { address, cluster, streams, store, run, owner, worker };
  }

  /** Waits until a number of rows is stored. */
  async function stored({ cluster, streams }: { cluster: Cluster; streams: ClusterStreams }, rows: number) {
    for (;;) {
      const shard = await readShard(streams, 'docs');
      if (shard && shard.rows - shard.stale >= rows) return;
      if (cluster.connection.isClosed()) throw new Error('closed');
      await sleep(50);
    }
  }

  async function statusOf({ run }: Awaited<ReturnType<typeof begin>>): Promise<ClusterStatus> {
    const status = run('status', '--json');
    expect(await status.end(), status.stderr).toBe(0);
    return JSON.parse(status.stdout) as ClusterStatus;
  }

  async function expectTruth(store: Store) {
    const found = await vectorsOf(store, space);
    expect(found.size).toBe(ROWS);
    const wrong = [...expected].filter(
      ([id, vector]) => !Buffer.from(found.get(id)!.buffer).equals(Buffer.from(vector.buffer)),
    );
    expect(wrong.map(([id]) => id)).toEqual([]);
    const stamps = (await store.snapshot()).embeddings(space).stamps();
    for await (const { steps } of stamps) expect(new Set(steps)).toEqual(new Set([retriever.trainedSteps]));
    await store.close();
  }

  it('owner, workers and coordinator are killed, and the server starts again: nothing is lost, nothing is wrong', async () => {
    const begun = await begin('kill');
    let owner = begun.owner();
    const workers = [begun.worker(), begun.worker()];
    let coordinator = begun.run('coordinate');
    await stored(begun, 1000);
    await workers[0]!.end('SIGKILL');
    await owner.end('SIGKILL');
    owner = begun.owner();
    workers.push(begun.worker());
    await stored(begun, 2500);
    await coordinator.end('SIGKILL');
    await servers.servers[0]!.kill();
    await servers.servers[0]!.start();
    let status = await statusOf(begun);
    // The last worker may still be starting, and the other one renews its record when it has connected again. So does the owner, after the
    // five seconds for which it waits for the answer of the server that was killed.
    const isKnown = (worker: UndriftProcess) => status.workers.some(({ pid }) => pid === worker.pid);
    while (!workers.slice(1).every(isKnown) || !status.shards[0]?.hasOwner) status = await statusOf(begun);
    expect(status.shards).toMatchObject([
      { name: 'docs', version: space, rows: ROWS, dimension: 32, hasOwner: true },
    ]);
    coordinator = begun.run('coordinate', '--until-done', '--json');
    expect(await coordinator.end(), coordinator.stderr).toBe(0);
    expect(JSON.parse(coordinator.stdout)).toEqual({ done: true, givenUp: 0 });
    expect(await workers[1]!.end('SIGINT')).toBe(0);
    expect(await workers[2]!.end('SIGTERM')).toBe(0);
    expect(await owner.end('SIGINT'), owner.stderr).toBe(0);
    await begun.cluster.close();
    await expectTruth(begun.store);
  }, 180_000);

  it('everyone ends at once where the server is gone', async () => {
    const begun = await begin('gone');
    const others = [begun.owner(), begun.worker(), begun.run('coordinate')];
    for (const each of others) await each.says('(Ctrl-C ends)');
    await stored(begun, 1000);
    await servers.servers[0]!.kill();
    const startMs = performance.now();
    const codes = await Promise.all(others.map((each) => each.end('SIGINT')));
    expect(codes, others.map(({ stderr }) => stderr).join()).toEqual([0, 0, 0]);
    expect(performance.now() - startMs).toBeLessThan(40_000);
    await servers.servers[0]!.start();
    await begun.cluster.close();
    await begun.store.close();
  }, 180_000);
});
