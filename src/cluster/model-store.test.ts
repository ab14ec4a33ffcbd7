import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { type Cluster, connectCluster } from './cluster.ts';
import { fetchModel, publishModel } from './model-store.ts';
import { ensureStreams } from './streams.ts';

describe.skipIf(noNats !== undefined)(`models of a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  const folder = join(tempFiles(), 'model');
  const clusters: Cluster[] = [];
  let servers: NatsServers;
  beforeAll(async () => {
    servers = await startNats();
    const retriever = smallRetriever({ kind: 'static' });
    await saveRetriever(folder, retriever, { onnx: false });
    await retriever.dispose();
  });
  afterAll(async () => {
    delete process.env.UNDRIFT_CACHE;
    for (const cluster of clusters) await cluster.close();
    await servers.stop();
  });

  async function begin(name: string) {
    process.env.UNDRIFT_CACHE = tempFiles();
    const cluster = await connectCluster(`${servers.address}/${name}`);
    clusters.push(cluster);
    return { cluster, streams: await ensureStreams(cluster, { resultBytes: 1 << 24 }) };
  }

  it('a model is published once, and refused when a file of it has changed', async () => {
    const { cluster, streams } = await begin('model');
    const digest = await publishModel(cluster, streams, folder);
    const before = await streams.models.list();
    expect(await publishModel(cluster, streams, folder)).toBe(digest);
    expect(await streams.models.list()).toEqual(before);
    const largest = before.toSorted((a, b) => b.size - a.size)[0]!;
    const bytes = (await streams.models.getBlob(largest.name))!;
    bytes[bytes.length >> 1]! ^= 1;
    await streams.models.putBlob({ name: largest.name }, bytes);
    await expect(fetchModel(streams, digest)).rejects.toThrow('another digest or size');
    await streams.models.putBlob({ name: largest.name }, bytes.subarray(1));
    await expect(fetchModel(streams, digest)).rejects.toThrow('another digest or size');
    expect(await publishModel(cluster, streams, folder)).toBe(digest);
    expect((await streams.models.getBlob(largest.name))?.length).toBe(largest.size);
    await streams.models.delete(largest.name);
    await expect(fetchModel(streams, digest)).rejects.toThrow('not in the cluster any more');
    expect(await publishModel(cluster, streams, folder)).toBe(digest);
    expect(await fetchModel(streams, digest)).toContain(digest);
  });

  it('the fetching of a model ends with its signal', async () => {
    const { cluster, streams } = await begin('fetching');
    const digest = await publishModel(cluster, streams, folder);
    // The server has the model, and sends nothing of it.
    const stream = `OBJ_${cluster.names.models}`;
    await cluster.manager.streams.purge(stream, { filter: `$O.${cluster.names.models}.C.>` });
    const startMs = performance.now();
    const fetching = fetchModel(streams, digest, AbortSignal.timeout(100));
    await expect(fetching).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(performance.now() - startMs).toBeLessThan(20_000);
  });

  it('a publication that is stopped while the server is asked fails, and nothing else does', async () => {
    const { cluster, streams } = await begin('stopped');
    const stop = new AbortController();
    const info = async () => {
      stop.abort();
      return null;
    };
    const asking = { ...streams, models: Object.assign(Object.create(streams.models), { info }) };
    const published = publishModel(cluster, asking, folder, { signal: stop.signal });
    await expect(published).rejects.toMatchObject({ name: 'AbortError' });
    // An error that nothing listens to would come now, and fail this file.
    await new Promise((resolve) => setTimeout(resolve, 50));
  });
});
