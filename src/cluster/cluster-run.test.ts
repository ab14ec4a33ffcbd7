import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterPassages, localVectors, storeWithoutVectors, vectorsOf } from '../../test/cluster-stores.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { connectCluster } from './cluster.ts';
import { runOverCluster } from './cluster-run.ts';
import { storeShard } from './store-shard.ts';
import { ensureStreams } from './streams.ts';
import { runWorker } from './worker.ts';

describe.skipIf(noNats !== undefined)(`a run over a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  let servers: NatsServers;
  beforeAll(async () => {
    servers = await startNats();
  });
  afterAll(() => servers.stop());

  it.each([1, 3])('of %i workers gives the bytes of local encoding', async (workers) => {
    const retriever = smallRetriever({ kind: 'transformer' });
    const space = embeddingSpaceId(retriever);
    const passages = clusterPassages(5000);
    const store = await storeWithoutVectors(retriever, passages);
    const address = `${servers.address}/bytes${workers}`;
    const cluster = await connectCluster(address);
    await ensureStreams(cluster, { ackWaitMs: 3000, leaseMs: 3000 });
    const stop = new AbortController();
    const running = Array.from({ length: workers }, async () => {
      const own = await connectCluster(address);
      const outcome = await runWorker(own, await ensureStreams(own), { threads: 1, signal: stop.signal });
      await own.close();
      return outcome;
    });
    const outcome = await runOverCluster(storeShard(store, { name: 'docs' }), cluster);
    expect(outcome).toEqual({ ended: 'done', stored: 5000, stale: 0, givenUp: 0 });
    stop.abort();
    const outcomes = await Promise.all(running);
    expect(outcomes.reduce((sum, { rows }) => sum + rows, 0)).toBe(5000);
    expect(outcomes.reduce((sum, { blocks }) => sum + blocks, 0)).toBe(5);
    await cluster.close();
    const [found, expected] = [await vectorsOf(store, space), await localVectors(retriever, passages)];
    expect(found.size).toBe(5000);
    for (const [id, vector] of expected)
      expect(Buffer.from(found.get(id)!.buffer).equals(Buffer.from(vector.buffer)), id).toBe(true);
    await store.close();
  });
});
