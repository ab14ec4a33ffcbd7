import type { Cluster } from '../cluster/cluster.ts';
import type { ClusterHit, ClusterSearcher, MissingShard } from '../cluster/cluster-search.ts';
import { clusterStatus } from '../cluster/cluster-status.ts';
import type { ClusterStreams } from '../cluster/streams.ts';
import type { StoreSearchOptions } from '../store/store-searcher.ts';
import { Batcher } from './batcher.ts';
import type { Metrics } from './metrics.ts';
import { bodySchema, CLUSTER_SEARCH_BODY } from './request-options.ts';
import type { Route } from './route.ts';
import { atIntervals, searchIn, secondsSince } from './routes.ts';

/** What the routes of a cluster work with. */
export interface ClusterBackend {
  readonly cluster: Cluster;
  readonly streams: ClusterStreams;
  readonly searcher: ClusterSearcher;
  readonly metrics: Metrics;
}

/** Answer to one search of a batch. */
interface Found {
  readonly results: readonly ClusterHit[];
  readonly partial: boolean;
  readonly missing: readonly MissingShard[];
  readonly shards: number;
}

/** Searches of one batch at most. */
const BATCH = 64;

/** Makes the routes of a server over the shards of a cluster. */
export function makeClusterRoutes({ cluster, streams, searcher, metrics }: ClusterBackend): readonly Route[] {
  type Search = { readonly text: string; readonly options: Omit<StoreSearchOptions, 'rerank'> };
  const searches = new Batcher<Search, Found>(
    async (batch) => {
      const { hits, ...answer } = await searcher.search(
        batch.map(({ text }) => text),
        batch[0]!.options,
      );
      return hits.map((results) => ({ ...answer, results }));
    },
    { most: BATCH },
  );
  let partial = 0;
  metrics.gauge('undrift_search_queue', 'Searches that wait for a batch.', () => searches.waiting);
  metrics.gauge('undrift_partial_answers', 'Answers that have lacked a shard.', () => partial);
  const status = atIntervals(() => clusterStatus(cluster, streams));
  return [
    {
      method: 'post',
      path: '/search',
      summary:
        'Find passages of all shards for a text. "partial" tells whether shards are missing, and "missing" names them.',
      body: bodySchema(CLUSTER_SEARCH_BODY),
      async run({ body, signal }) {
        const startMs = performance.now();
        const { query, ...options } = searchIn(CLUSTER_SEARCH_BODY, body);
        const found = await searches.add({ text: query, options }, JSON.stringify(options), signal);
        if (found.partial) partial += 1;
        return { query, mode: options.mode, ...found, seconds: secondsSince(startMs) };
      },
    },
    {
      method: 'get',
      path: '/status',
      summary: 'Describe the cluster: shards by version, workers, rate, time left, what was given up.',
      run: status,
    },
  ];
}
