import { type ClusterPlace, connectPlace } from '../cluster/cluster-options.ts';
import { ClusterSearcher, type ClusterSearcherOptions } from '../cluster/cluster-search.ts';
import { openStreams } from '../cluster/cluster-status.ts';
import { makeClusterRoutes } from './cluster-routes.ts';
import { Metrics } from './metrics.ts';
import { pageHtml } from './page.ts';
import { checkToken, type HttpOptions, type RunningServer, serveApp } from './server.ts';

/** Settings of {@link serveCluster}. */
export interface ServeClusterOptions extends HttpOptions, ClusterSearcherOptions {
  /** Called with a note, for example about a connection that was lost. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** Ends the wait for the server of NATS. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Serves a search over the shards of a cluster, its status, and a page, over HTTP. The server holds no model and no vectors: the owners of the shards
 * search.
 *
 * @throws UsageError for a host that other machines reach, without a token
 * @throws RuntimeError if the server of NATS cannot be reached
 * @throws UndriftError if the port is in use
 */
export async function serveCluster(
  place: ClusterPlace,
  { onNote, signal, shards, deadlineMs, ...http }: ServeClusterOptions = {},
): Promise<RunningServer> {
  checkToken(http.host ?? '127.0.0.1', http.token);
  const cluster = await connectPlace(place, { onNote, signal });
  try {
    const streams = await openStreams(cluster, { signal });
    const metrics = new Metrics();
    const searcher = new ClusterSearcher(cluster, streams, { shards, deadlineMs });
    const routes = makeClusterRoutes({ cluster, streams, searcher, metrics });
    return await serveApp({ routes, page: pageHtml('cluster'), metrics }, http, () => cluster.close());
  } catch (error) {
    await cluster.close();
    throw error;
  }
}
