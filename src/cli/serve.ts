import { parseClusterAddress } from '../cluster/cluster-address.ts';
import { clusterPlace } from '../cluster/cluster-options.ts';
import { CLUSTER_SEARCH_OPTIONS } from '../cluster/cluster-search.ts';
import { REFRESH_OPTIONS } from '../migration/lazy-refresh.ts';
import { RERANK_OPTIONS } from '../retrieval/rerank.ts';
import { ANSWER_OPTIONS, answererOf } from '../serve/answer/answer-options.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { UsageError } from '../util/errors.ts';
import type { OptionTable, OptionValues } from '../util/option-table.ts';
import { type CommandResult, defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { packageVersion } from './package-version.ts';
import { refuseOthers } from './refuse-others.ts';

const OPTIONS = {
  store: STORE_OPTION.store,
  ...CLUSTER_SEARCH_OPTIONS,
  port: { type: 'integer', min: 0, max: 65_535, default: 8080, help: 'port; 0 for any that is free' },
  host: { type: 'text', nonEmpty: true, default: '127.0.0.1', help: 'address to listen at' },
  readOnly: { type: 'switch', default: false, help: 'refuse changes of the store' },
  maxBody: { type: 'integer', min: 1, default: 4_194_304, help: 'largest body of a request, in bytes' },
  maxConcurrent: {
    type: 'integer',
    min: 1,
    default: 512,
    help: 'requests at once; more are answered with status 503',
  },
  refresh: {
    type: 'switch',
    negative: true,
    help: 'embed no passages in the background (default: those that a migration has left)',
  },
  ...REFRESH_OPTIONS,
  workShare: { ...REFRESH_OPTIONS.workShare, default: 0.25 },
  rerank: {
    ...RERANK_OPTIONS.rerank,
    help: `${RERANK_OPTIONS.rerank.help}; for searches with "rerank": true`,
  },
  rerankDepth: RERANK_OPTIONS.rerankDepth,
  threads: { type: 'integer', min: 1, help: 'threads of the runtime (default: its own choice)' },
  ...ANSWER_OPTIONS,
} as const satisfies OptionTable;

/** The command `undrift serve`: serves a store over HTTP until it is interrupted. */
export const serveCommand = defineCommand({
  description:
    'POST /search {"query", "topK"}, POST /embed, POST and DELETE /passages, GET /status, /health, /metrics (Prometheus), ' +
    '/ages, /openapi.json, and POST /v1/embeddings in the format of the OpenAI API. / is a page to search with. With --answer-model, POST ' +
    '/answer {"query"} streams the answer of a language model with the passages that it cites. A bearer token is read from the ' +
    'environment variable UNDRIFT_TOKEN; without one, only this machine is served. Passages that are not embedded by the current model ' +
    'are embedded in the background, those that searches find first. With --cluster in place of --store, the shards of a cluster are ' +
    'searched, with a page at / that also shows the state of the cluster: POST /search, GET /status, /health, /metrics, /openapi.json. Ctrl-C answers what has begun and ends.',
  options: OPTIONS,
  stopsGracefully: true,
  examples: [
    '--store stores/docs',
    '--store stores/docs --port 9000 --read-only',
    '--cluster nats://head:4222 --deadline 2',
  ],
  async run(options, io) {
    if (options.cluster !== undefined) return await serveShards(options, io);
    if (options.store === undefined) throw new UsageError('--store or --cluster is missing');
    const { store, port, host, readOnly, threads, maxBody, maxConcurrent } = options;
    const { refresh = true, workShare, rowsPerMinute, refreshOrder } = options;
    // Loaded by the commands that serve, because the server's libraries make every other start slower.
    const { serveStore } = await import('../serve/server.ts');
    const server = await serveStore(store, {
      port,
      host,
      readOnly,
      threads,
      maxConcurrent,
      rerank:
        options.rerank === undefined ? undefined : { model: options.rerank, depth: options.rerankDepth },
      refresh: refresh && { workShare, rowsPerMinute, refreshOrder },
      maxBodyBytes: maxBody,
      token: process.env.UNDRIFT_TOKEN || undefined,
      answerer: await answererOf(options, process.env.UNDRIFT_ANSWER_KEY || undefined, { threads }),
      version: packageVersion(),
    });
    io.log(`serving ${store} at ${server.url} (Ctrl-C ends)`);
    await untilStopped(io.signal);
    await server.close();
    return { json: { store, url: server.url }, text: 'stopped\n' };
  },
});

/** Waits until the user stops the command, which may have been before. */
export async function untilStopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Options that a server over a cluster takes. */
const OF_CLUSTERS = ['port', 'host', 'maxBody', 'maxConcurrent', ...Object.keys(CLUSTER_SEARCH_OPTIONS)];

/** Serves the shards of a cluster until the user stops the command. */
async function serveShards(options: OptionValues<typeof OPTIONS>, io: Io): Promise<CommandResult> {
  const { store, port, host, maxBody, maxConcurrent, shards, deadline } = options;
  if (store !== undefined) throw new UsageError('--store and --cluster exclude each other');
  refuseOthers(OPTIONS, options, {
    allowed: OF_CLUSTERS,
    purpose: 'a server over a cluster, whose owners search and change their stores',
  });
  const place = clusterPlace(options)!;
  const { serveCluster } = await import('../serve/serve-cluster.ts');
  const server = await serveCluster(place, {
    ...{ port, host, maxConcurrent, shards, deadlineMs: 1000 * deadline, maxBodyBytes: maxBody },
    token: process.env.UNDRIFT_TOKEN || undefined,
    version: packageVersion(),
    signal: io.signal,
    onNote: (note) => io.log(`note: ${note}`),
  });
  const { shown } = parseClusterAddress(place.address, place.connection);
  io.log(`serving the shards of ${shown} at ${server.url} (Ctrl-C ends)`);
  await untilStopped(io.signal);
  await server.close();
  return { json: { cluster: shown, url: server.url }, text: 'stopped\n' };
}
