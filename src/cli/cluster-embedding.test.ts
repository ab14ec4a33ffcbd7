import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterPassages, localVectors, vectorsOf } from '../../test/cluster-stores.ts';
import { startWorkers } from '../../test/cluster-workers.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { connectCluster } from '../cluster/cluster.ts';
import { embedStore, shardOf } from '../cluster/embed-store.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { coordinateCommand } from './cluster.ts';
import { indexCommand } from './index-store.ts';
import { startCommand } from './migrate.ts';

const folder = tempFiles(rotatedData());
const at = (name: string) => join(folder, name);
const { from, to } = rotatedModels();
const CLUSTER = 'nats://127.0.0.1:1/test';

it.each([
  [indexCommand, { cluster: CLUSTER, approximate: 'ivf' }, '--cluster needs --data or --corpus'],
  [indexCommand, { cluster: CLUSTER, data: at('set'), model: 'm', workers: '2' }, '--workers is about'],
  [indexCommand, { natsCa: 'ca.pem', data: at('set'), model: 'm' }, 'needs'],
  [indexCommand, { part: '1/2', approximate: 'ivf' }, '--part needs --data or --corpus'],
  [startCommand, { cluster: CLUSTER, until: '0.5' }, '--until has no meaning for a backfill over a cluster'],
  [startCommand, { cluster: CLUSTER, workShare: '0.5' }, '--work-share has no meaning'],
])('options that contradict a cluster are refused: %#', async (command, flags, message) => {
  await expect(runCommand(command, { store: at('none'), ...flags } as never)).rejects.toThrow(message);
});

it('a store is named after its folder', () => {
  expect(shardOf('stores/docs')).toBe('docs');
  expect(shardOf('s3://bucket/my docs/')).toBe('my-docs');
});

describe.skipIf(noNats !== undefined)(`over a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  let servers: NatsServers;
  beforeAll(async () => {
    servers = await startNats();
    await saveRetriever(at('old'), from, { onnx: false });
    await saveRetriever(at('new'), to, { onnx: false });
  });
  afterAll(() => servers.stop());

  /** Vectors of a store, as texts by id. */
  async function stored(name: string, space: string): Promise<Record<string, string>> {
    const store = await Store.open(at(name));
    const vectors = await vectorsOf(store, space);
    await store.close();
    return Object.fromEntries([...vectors].map(([id, vector]) => [id, vector.join()]));
  }

  it('index and migrate start store the bytes of this machine', async () => {
    const workers = await startWorkers(servers.address, 'commands', 1);
    const index = (store: string, more: Readonly<Record<string, string>> = {}) =>
      runCommand(indexCommand, {
        model: at('old'),
        data: at('set'),
        store: at(store),
        threads: '1',
        ...more,
      });
    const here = await index('here');
    const { json, logged } = await index('there', { cluster: workers.address, shard: 'docs' });
    const rows = here.json.rows as number;
    expect(json).toMatchObject({ rows, embedded: rows, added: rows, missing: 0, givenUp: 0, stopped: false });
    expect(logged[0]).toContain('undrift cluster worker --nats nats://127.0.0.1:');
    const old = embeddingSpaceId(from);
    expect(await stored('there', old)).toEqual(await stored('here', old));
    // Nothing is left to be done.
    expect((await index('there', { cluster: workers.address, shard: 'docs' })).json).toMatchObject({
      unchanged: rows,
      embedded: 0,
      missing: 0,
    });

    const flags = { to: at('new'), sample: '200', corrector: 'procrustes', threads: '1', store: at('there') };
    const moved = await runCommand(startCommand, { ...flags, cluster: workers.address });
    expect(moved.json).toMatchObject({ embedded: rows - 200, missing: 0, givenUp: 0 });
    expect(moved.text).toContain('next: undrift migrate cutover');
    await workers.leave();
    const space = embeddingSpaceId(to);
    const found = await stored('there', space);
    await index('fresh', { model: at('new') });
    const expected = await stored('fresh', space);
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    const different = Object.keys(expected).filter((id) => found[id] !== expected[id]);
    // The sample was embedded by itself.
    for (const id of different) {
      const [a, b] = [found, expected].map((all) => all[id]!.split(',').map(Number)) as [number[], number[]];
      for (const [i, x] of a.entries()) expect(Math.abs(x - b[i]!)).toBeLessThan(1e-6);
    }
  });

  it('a coordinator is told of shards that the cluster has', async () => {
    const nats = `${servers.address}/retry`;
    for (const retry of ['docz', '>'])
      await expect(runCommand(coordinateCommand, { nats, retry })).rejects.toThrow(`has no shard ${retry}`);
  });

  it('a command that fails closes its connection, so that its process ends', async () => {
    const cluster = `${servers.address}/failing`;
    const { monitor } = servers.servers[0]!;
    const connections = async () =>
      ((await (await fetch(`http://127.0.0.1:${monitor}/connz`)).json()) as { num_connections: number })
        .num_connections;
    const source = { data: at('set'), store: at('failing') };
    await expect(runCommand(indexCommand, { ...source, model: at('none'), cluster })).rejects.toThrow();
    await runCommand(indexCommand, { ...source, model: at('old'), threads: '1' });
    // The model is that of the store.
    const migration = runCommand(startCommand, { store: at('failing'), to: at('old'), cluster });
    await expect(migration).rejects.toThrow();
    await expect.poll(connections, { timeout: 5000 }).toBe(0);
  });

  it('work that was stopped goes on, with the bytes of one call', async () => {
    const workers = await startWorkers(servers.address, 'stopped', 1);
    const retriever = smallRetriever({ kind: 'transformer' });
    const space = embeddingSpaceId(retriever);
    const passages = clusterPassages(3500);
    const store = await Store.open(at('stopped'), {
      create: { language: 'any', stem: false, stopWords: false },
    });
    await indexPassages(store, retriever, passages, { threads: 1, embeds: false });
    const controller = new AbortController();
    const embed = async (signal?: AbortSignal) => {
      const cluster = await connectCluster(workers.address);
      const outcome = await embedStore(store, at('stopped'), cluster, {
        ...{ model: retriever, space, signal },
        onProgress: ({ done }) => done > 0 && controller.abort(),
      });
      await cluster.close();
      return outcome;
    };
    const first = await embed(controller.signal);
    expect(first.ended).toBe('aborted');
    expect(first.stored).toBeGreaterThan(0);
    const rest = await embed();
    expect(rest).toMatchObject({ ended: 'done', stale: 0, stored: 3500 - first.stored });
    await workers.leave();
    expect(await vectorsOf(store, space)).toEqual(await localVectors(retriever, passages));
    await store.close();
    await retriever.dispose();
  });
});
