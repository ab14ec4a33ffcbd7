import { statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { RefreshOptions } from '../migration/lazy-refresh.ts';
import { Store } from '../store/store.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import type { Answerer } from './answer/answerer.ts';
import { type AppParts, makeApp } from './app.ts';
import { Metrics } from './metrics.ts';
import { pageHtml } from './page.ts';
import { makeRoutes } from './routes.ts';
import { StoreThread } from './worker-client.ts';

/** Settings of {@link serveStore}. */
export interface ServeOptions {
  /** Port; 0 for any that is free. Default 8080. */
  readonly port?: number | undefined;
  /** Address to listen at. Default 127.0.0.1, which only this machine reaches. */
  readonly host?: string | undefined;
  /** Bearer token that requests must carry. Needed for any host but this machine's own. */
  readonly token?: string | undefined;
  /** Refuse changes of the store. Default false. */
  readonly readOnly?: boolean | undefined;
  /** Largest body of a request, in bytes. Default 4 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /** Most requests that are answered at once; more get status 503. Default 512. */
  readonly maxConcurrent?: number | undefined;
  /** Longest time for a request to arrive, in milliseconds; its headers have 10 seconds at most. Default 60,000. */
  readonly requestMs?: number | undefined;
  /** Threads of the runtime. Default its own. */
  readonly threads?: number | undefined;
  /**
   * Settings of the refresh, which embeds stale passages in the background; `false` for none. Default a quarter of the time. A server
   * that only reads does not refresh.
   */
  readonly refresh?: RefreshOptions | false | undefined;
  /**
   * Cross-encoder that reranks searches with `"rerank": true`: a folder, a run, or a name on the hub; and passages of each search that it
   * reads (default 50). Default none.
   */
  readonly rerank?: { readonly model: string; readonly depth?: number | undefined } | undefined;
  /** Language model that answers questions from passages. Default none. */
  readonly answerer?: Answerer | undefined;
  /** Version that the OpenAPI document names. Default 0. */
  readonly version?: string | undefined;
}

/** Server that listens. */
export interface RunningServer {
  /** Address for clients. */
  readonly url: string;
  /** Stops to accept requests, answers those that have begun, and ends the threads. */
  close(): Promise<void>;
}

/** Share of the time that a server refreshes, unless it is told another. */
export const SERVE_WORK_SHARE = 0.25;

const isLoopback = (host: string): boolean => /^(localhost|127\.|::1$)/.test(host);
/** Times for all headers of a request and for the whole request, in milliseconds: a slow client does not hold a place for ever. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 60_000;
/** Time between two looks for slow clients, in milliseconds. */
const SLOW_CHECK_MS = 1000;
/** Longest time for the answers that have begun when the server closes, in milliseconds. */
const CLOSE_MS = 30_000;
/** Time between two looks for commits of other processes, in milliseconds. */
const WATCH_MS = 1000;
/** Time between two questions for the head of a store in an object store, in milliseconds. */
const ASK_MS = 5000;

/**
 * Serves a store over HTTP: search, embedding, changes, status, and a page. Models and vectors are in threads of their own, so that
 * a long search delays no other request's headers, health or metrics.
 *
 * @throws UsageError for a host that other machines reach, without a token
 * @throws UndriftError if the port is in use or the store cannot be opened
 */
export async function serveStore(folder: string, options: ServeOptions = {}): Promise<RunningServer> {
  const { host = '127.0.0.1', token, readOnly = false, threads } = options;
  const { refresh = { workShare: SERVE_WORK_SHARE } } = options;
  checkToken(host, token);
  const store = await Store.open(folder);
  await store.close();
  const reader = await StoreThread.start({ folder, threads, rerank: options.rerank });
  const writer = readOnly
    ? undefined
    : await StoreThread.start({ folder, threads, refresh: refresh || undefined });
  await reader.call('reload', {});
  const metrics = new Metrics();
  const closing = new AbortController();
  const { answerer } = options;
  const routes = makeRoutes({
    ...{ reader, writer, answerer, metrics },
    reranker: options.rerank?.model,
    closing: closing.signal,
  });
  const end = () => Promise.all([reader.close(), writer?.close()]);
  const page = pageHtml('store', { hasAnswers: answerer !== undefined });
  const running = await serveApp({ routes, page, metrics }, options, end);
  const watching = watchHead(store.place.headPath, reader, writer);
  return {
    url: running.url,
    async close() {
      clearInterval(watching);
      closing.abort();
      await running.close();
      await answerer?.close?.();
    },
  };
}

/** Settings of a server of any kind. */
export type HttpOptions = Pick<
  ServeOptions,
  'port' | 'host' | 'token' | 'maxBodyBytes' | 'maxConcurrent' | 'requestMs' | 'version'
>;

/**
 * Serves an application over HTTP.
 *
 * @param end  frees what the application works with, after the last answer
 * @throws UsageError for a host that other machines reach, without a token
 * @throws UndriftError if the port is in use
 */
export async function serveApp(
  parts: AppParts,
  options: HttpOptions,
  end: () => Promise<unknown>,
): Promise<RunningServer> {
  const { port = 8080, host = '127.0.0.1', token, requestMs = REQUEST_MS } = options;
  const app = makeApp(parts, {
    token,
    maxBodyBytes: options.maxBodyBytes ?? 4 << 20,
    maxConcurrent: options.maxConcurrent ?? 512,
    loopbackOnly: isLoopback(host) && token === undefined,
    version: options.version ?? '0',
  });
  const server = createServer(
    {
      headersTimeout: Math.min(HEADERS_MS, requestMs),
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(SLOW_CHECK_MS, requestMs),
    },
    getRequestListener(app.fetch),
  );
  try {
    await listen(server, port, host);
  } catch (error) {
    await end();
    throw error;
  }
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await closed;
      clearTimeout(late);
      await end();
    },
  };
}

/**
 * Checks that a server can listen, before work that it would wait for.
 *
 * @throws UsageError for a host that other machines reach, without a token
 * @throws UndriftError if the port is in use
 */
export async function checkListening({
  port = 8080,
  host = '127.0.0.1',
  token,
}: Pick<ServeOptions, 'port' | 'host' | 'token'>): Promise<void> {
  checkToken(host, token);
  const server = createServer();
  await listen(server, port, host);
  await new Promise((resolve) => server.close(resolve));
}

/** @throws UsageError for a host that other machines reach, without a token */
export function checkToken(host: string, token: string | undefined): void {
  if (isLoopback(host) || token !== undefined) return;
  throw new UsageError(`other machines reach ${host}, and there is no token`, {
    help: 'set one in the environment variable UNDRIFT_TOKEN, or listen at 127.0.0.1',
  });
}

/**
 * Lets the threads read what others commit.
 *
 * @param head  file of the head; undefined for a store without one, which is asked less often
 */
function watchHead(
  head: string | undefined,
  reader: StoreThread,
  writer: StoreThread | undefined,
): NodeJS.Timeout {
  const reload = () => {
    reader.call('reload', {}).catch(() => {});
    writer?.call('look', {}).catch(() => {});
  };
  if (head === undefined) return setInterval(reload, ASK_MS).unref();
  let last = statSync(head).mtimeMs;
  const look = () => {
    // A store that is removed while it is served is reported by the next search.
    const { mtimeMs = last } = statSync(head, { throwIfNoEntry: false }) ?? {};
    if (mtimeMs === last) return;
    last = mtimeMs;
    reload();
  };
  return setInterval(look, WATCH_MS).unref();
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'the port is in use' : cause.message;
      reject(
        new UndriftError(`cannot listen at ${host}:${port}: ${reason}`, {
          help: 'choose another --port',
          cause,
        }),
      );
    });
    server.listen(port, host, resolve);
  });
}
