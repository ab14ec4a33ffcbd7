import { REFRESH_OPTIONS } from '../migration/lazy-refresh.ts';
import { RERANK_OPTIONS } from '../retrieval/rerank.ts';
import { ANSWER_OPTIONS, answererOf } from '../serve/answer/answer-options.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { defineCommand } from './command.ts';
import { packageVersion } from './package-version.ts';

/** The command `undrift serve`: serves a store over HTTP until it is interrupted. */
export const serveCommand = defineCommand({
  description:
    'POST /search {"query", "topK"}, POST /embed, POST and DELETE /passages, GET /status, /health, /metrics (Prometheus), ' +
    '/ages, /openapi.json, and POST /v1/embeddings in the format of the OpenAI API. / is a page to search with. With --answer-model, POST ' +
    '/answer {"query"} streams the answer of a language model with the passages that it cites. A bearer token is read from the ' +
    'environment variable UNDRIFT_TOKEN; without one, only this machine is served. Passages that are not embedded by the current model ' +
    'are embedded in the background, those that searches find first. Ctrl-C answers what has begun and ends.',
  options: {
    store: { ...STORE_OPTION.store, required: true },
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
  },
  stopsGracefully: true,
  examples: ['--store stores/docs', '--store stores/docs --port 9000 --read-only'],
  async run(options, io) {
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
