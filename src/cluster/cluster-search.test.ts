import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterPassages } from '../../test/cluster-stores.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { searchCommand } from '../cli/search.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { type Cluster, connectCluster } from './cluster.ts';
import { ClusterSearcher } from './cluster-search.ts';
import { Owner } from './owner.ts';
import { ShardSearch } from './shard-search.ts';
import { storeShard } from './store-shard.ts';
import { type ClusterStreams, ensureStreams } from './streams.ts';

const compute = { threads: 1 };
const folder = tempFiles({});
const PARTS = ['1/3', '2/3', '3/3'];
const passages = clusterPassages(300).map((passage, i) => ({
  ...passage,
  metadata: { year: 2000 + (i % 30) },
}));
const QUERIES = ['reads a whole file', 'returns bytes', 'number of calls'];

async function stored(
  name: string,
  retriever: ReturnType<typeof smallRetriever>,
  part?: string,
): Promise<Store> {
  const store = await Store.open(join(folder, name), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  await indexPassages(store, retriever, passages, { ...compute, part });
  return store;
}

describe.skipIf(noNats !== undefined)(`a search over shards${noNats ? `: ${noNats}` : ''}`, () => {
  const retriever = smallRetriever({ kind: 'static' });
  let servers: NatsServers;
  let cluster: Cluster;
  let streams: ClusterStreams;
  let whole: Store;
  const owners: { readonly owner: Owner; readonly search: ShardSearch; readonly store: Store }[] = [];

  async function own(name: string, store: Store): Promise<void> {
    const search = new ShardSearch(store, compute);
    const keeper = storeShard(store, { name });
    owners.push({
      owner: await Owner.start(cluster, streams, keeper, { answers: search.answers }),
      ...{ search, store },
    });
  }

  beforeAll(async () => {
    servers = await startNats();
    cluster = await connectCluster(`${servers.address}/search`);
    streams = await ensureStreams(cluster, { ackWaitMs: 3000, leaseMs: 3000, resultBytes: 1 << 24 });
    whole = await stored('whole', retriever);
    for (const [i, part] of PARTS.entries())
      await own(`part-${i + 1}`, await stored(`part-${i + 1}`, retriever, part));
  });
  afterAll(async () => {
    for (const { owner, search, store } of owners) {
      await owner.close();
      await search.dispose();
      await store.close();
    }
    await whole.close();
    await cluster.close();
    await servers.stop();
    await retriever.dispose();
  });

  it('by vectors finds what one store finds', async () => {
    const searcher = new StoreSearcher(whole, compute);
    const options = { mode: 'dense', topK: 12, filter: [{ field: 'year', is: '>=', value: 2010 }] } as const;
    const expected = await searcher.searchAll(QUERIES, options);
    const found = await new ClusterSearcher(cluster, streams).search(QUERIES, options);
    expect(found).toMatchObject({ partial: false, missing: [], shards: 3 });
    for (const [i, hits] of found.hits.entries()) {
      // Vectors were embedded in other blocks, and equal texts have other numbers in other stores.
      for (const [n, { score, rank }] of hits.entries()) {
        expect(score).toBeCloseTo(expected[i]![n]!.score, 5);
        expect(rank).toBe(n + 1);
      }
      const last = hits.at(-1)!.score + 1e-5;
      const best = (all: typeof hits | (typeof expected)[number]) =>
        all.flatMap(({ id, score }) => (score > last ? id : [])).sort();
      expect(best(hits)).toEqual(best(expected[i]!));
      expect(best(hits).length).toBeGreaterThan(3);
      expect(hits.every(({ metadata }) => Number(metadata?.year) >= 2010)).toBe(true);
    }
    expect(new Set(found.hits.flat().map(({ shard }) => shard)).size).toBe(3);
    await searcher.dispose();
  });

  it('by words, and by both, gives the parts of scores', async () => {
    const searcher = new ClusterSearcher(cluster, streams);
    const words = await searcher.search(['array of bytes'], { mode: 'bm25', topK: 5 });
    expect(words.hits[0]).toHaveLength(5);
    expect(words.hits[0]!.every(({ text }) => /array|bytes/.test(text))).toBe(true);
    const { hits } = await searcher.search(['array of bytes'], { topK: 5 });
    expect(hits[0]!.every(({ parts }) => parts?.dense !== undefined || parts?.bm25 !== undefined)).toBe(true);
    const [first, second] = hits[0]!;
    expect(first!.score).toBeGreaterThanOrEqual(second!.score);
    await expect(searcher.search(['x'], { minScore: 1 })).rejects.toThrow(
      'has no meaning for a hybrid search',
    );
  });

  it('names shards that do not answer, on the command line too', async () => {
    const text = QUERIES[0]!;
    const all = await runCommand(searchCommand, { cluster: `${servers.address}/search`, topK: '3' }, [text]);
    expect(all.json).toMatchObject({ partial: false, missing: [], shards: 3 });
    expect(all.json.results).toHaveLength(3);
    await owners[1]!.owner.close();
    const found = await runCommand(
      searchCommand,
      { cluster: `${servers.address}/search`, topK: '3', mode: 'dense', deadline: '3' },
      [text],
    );
    expect(found.json).toMatchObject({
      partial: true,
      missing: [{ shard: 'part-2', reason: 'the shard part-2 has no owner' }],
    });
    expect(found.text).toContain('partial: 1 of 3 shards missing: part-2 (the shard part-2 has no owner)');
    const named = await new ClusterSearcher(cluster, streams, { shards: ['part-1', 'part-3'] }).search([
      text,
    ]);
    expect(named).toMatchObject({ partial: false, shards: 2 });
    // An owner that does not search, such as that of undrift index --cluster, does not hide what is missing.
    const plain = await Owner.start(cluster, streams, storeShard(owners[1]!.store, { name: 'part-2' }));
    const without = await new ClusterSearcher(cluster, streams).search([text], { mode: 'dense' });
    expect(without.missing).toEqual([
      { shard: 'part-2', reason: expect.stringContaining('it does not answer requests of the kind rank') },
    ]);
    await plain.close();
  });

  it('waits no longer than the deadline', async () => {
    const slow = new AbortController();
    const name = 'slow';
    const store = await stored(name, retriever);
    const owner = await Owner.start(cluster, streams, storeShard(store, { name }), {
      answers: {
        rank: () =>
          new Promise((resolve) => slow.signal.addEventListener('abort', () => resolve(new Uint8Array()))),
      },
    });
    const began = performance.now();
    const found = await new ClusterSearcher(cluster, streams, {
      shards: ['part-1', name],
      deadlineMs: 1500,
    }).search(['number'], { mode: 'dense' });
    expect(found).toMatchObject({ partial: true, missing: [{ shard: name }] });
    expect(performance.now() - began).toBeGreaterThan(1100);
    // The hits of the others are there all the same.
    expect(found.hits[0]!.length).toBeGreaterThan(0);
    slow.abort();
    await owner.close();
    await store.close();
  });

  it('reads passages in several requests where there are many, and refuses rankings that are too long', async () => {
    const name = 'many';
    const store = await stored(name, retriever);
    const most = 10_000;
    const asked: number[] = [];
    const json = (value: object) => Buffer.from(JSON.stringify(value));
    const owner = await Owner.start(cluster, streams, storeShard(store, { name }), {
      answers: {
        rank: async (body) => {
          const { texts } = JSON.parse(Buffer.from(body).toString()) as { texts: string[] };
          const scores = Array.from({ length: most }, (_, i) => -i);
          const bm25 = texts.map((_, text) => ({ rows: scores.map((score) => text * most - score), scores }));
          return json({ space: '', rankings: { bm25 } });
        },
        passages: async (body) => {
          const { rows } = JSON.parse(Buffer.from(body).toString()) as { rows: number[] };
          asked.push(rows.length);
          return json({ passages: rows.map((pid) => ({ pid, id: `p${pid}`, title: '', text: 'a' })) });
        },
      },
    });
    const searcher = new ClusterSearcher(cluster, streams, { shards: [name], deadlineMs: 60_000 });
    const found = await searcher.search(['a', 'b', 'c'], { mode: 'bm25', topK: most });
    expect(found).toMatchObject({ partial: false, missing: [] });
    expect(found.hits.map((hits) => [hits.length, hits[0]!.id])).toEqual([
      [most, 'p0'],
      [most, 'p10000'],
      [most, 'p20000'],
    ]);
    expect(asked).toEqual([most, most, most]);
    const tooLong = searcher.search(['a'], { mode: 'bm25', topK: most + 1 });
    await expect(tooLong).rejects.toThrow('ranks up to 10,000 passages, found 10,001');
    await owner.close();
    await store.close();
  });

  it('refuses to mix vectors of different models', async () => {
    const other = smallRetriever({ kind: 'static', seed: 9 });
    await own('other', await stored('other', other));
    const searcher = new ClusterSearcher(cluster, streams, { shards: ['part-1', 'other'] });
    await expect(searcher.search(['number'])).rejects.toThrow(
      'part-1 and other have vectors of different models',
    );
    expect((await searcher.search(['number'], { mode: 'bm25' })).hits[0]!.length).toBeGreaterThan(0);
    await other.dispose();
  });
});
