import { type CLUSTER_SEARCH_OPTIONS, type ClusterHit, ClusterSearcher } from '../cluster/cluster-search.ts';
import { openStreams } from '../cluster/cluster-status.ts';
import { parseCondition } from '../store/filter.ts';
import type { STORE_SEARCH_OPTIONS } from '../store/store-options.ts';
import { count, plural } from '../util/format.ts';
import type { OptionValues } from '../util/option-table.ts';
import { withCluster } from './cluster-embedding.ts';
import type { Io } from './io.ts';

/** Finds passages of a cluster's shards for a text. */
export async function searchCluster(
  query: string,
  options: OptionValues<typeof STORE_SEARCH_OPTIONS> &
    OptionValues<typeof CLUSTER_SEARCH_OPTIONS> & { readonly topK: number },
  io: Io,
): Promise<{
  readonly json: Record<string, unknown>;
  readonly results: readonly ClusterHit[];
  /** Which shards are missing; empty if none is. */
  readonly notice: string;
}> {
  const { mode, topK, filter = [], denseWeight, minScore, approximate, probes, deadline, shards } = options;
  return await withCluster(options, io, async (connected) => {
    const cluster = connected!;
    const searcher = new ClusterSearcher(cluster, await openStreams(cluster), {
      ...{ shards, deadlineMs: 1000 * deadline },
    });
    const found = await searcher.search([query], {
      ...{ mode, topK, filter: filter.map(parseCondition), denseWeight, minScore },
      approximate: approximate && { probes },
    });
    const results = found.hits[0]!;
    const { partial, missing } = found;
    const json = {
      cluster: cluster.address.shown,
      query,
      mode,
      shards: found.shards,
      partial,
      missing,
      results,
    };
    const names = missing.map(({ shard, reason }) => `${shard} (${reason})`).join(', ');
    const notice = partial
      ? `partial: ${count(missing.length)} of ${plural(found.shards, 'shard')} missing: ${names}\n`
      : '';
    return { json, results, notice };
  });
}
