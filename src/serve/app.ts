import { timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { isObject, type Json } from '../util/json-objects.ts';
import { repeatedKey } from '../util/repeated-key.ts';
import { parseShallowJson } from '../util/shallow-json.ts';
import { EventResponse } from './event-response.ts';
import { failure, failureOf } from './failure.ts';
import { HttpError } from './http-error.ts';
import type { Metrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { PAGE_HEADERS, type PageFile, pageFiles } from './page.ts';
import type { Route } from './route.ts';

/** Limits and access of a server. */
export interface AppOptions {
  /** Bearer token that requests must carry; undefined to ask for none. */
  readonly token: string | undefined;
  /** Largest body, in bytes. */
  readonly maxBodyBytes: number;
  /** Most requests at once. More are answered with 503. */
  readonly maxConcurrent: number;
  /** Whether requests must be addressed to a name of this machine, as protection against other names that lead here. */
  readonly loopbackOnly: boolean;
  /** Version of the package. */
  readonly version: string;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
/** Paths that need no token: they say nothing about the store. */
const OPEN_PATHS = new Set(['/health', '/', '/openapi.json']);
const TOKEN = {
  code: 'invalid_api_key',
  help: 'send the header authorization: Bearer TOKEN',
  param: undefined,
};
const ROUTES = { code: undefined, help: '/openapi.json has the routes', param: undefined };

/** What an application answers. */
export interface AppParts {
  readonly routes: readonly Route[];
  /** HTML of the page at `/`. */
  readonly page: string;
  readonly metrics: Metrics;
}

/** Makes the HTTP application over a store or a cluster. */
export function makeApp({ routes, page, metrics }: AppParts, options: AppOptions): Hono {
  const { token, maxConcurrent, loopbackOnly, version } = options;
  const app = new Hono();
  let running = 0;
  metrics.gauge('undrift_requests_running', 'Requests that are being answered.', () => running);

  app.use(async (context, next) => {
    const startMs = performance.now();
    const { path } = context.req;
    const done = (response: Response): Response => {
      // Unknown paths share one label, so that a client cannot add labels without end.
      const label = known.has(path) ? path : 'other';
      metrics.add(label, response.status, (performance.now() - startMs) / 1000);
      return response;
    };
    if (loopbackOnly && !LOOPBACK.test(context.req.header('host') ?? '')) {
      return done(failure(context, 403, 'this server answers requests to localhost only'));
    }
    if (token !== undefined && !open.has(path) && !isToken(context.req.header('authorization'), token)) {
      context.header('www-authenticate', 'Bearer');
      return done(failure(context, 401, 'a bearer token is missing or wrong', TOKEN));
    }
    if (running >= maxConcurrent) return done(failure(context, 503, 'too many requests at once'));
    running += 1;
    try {
      await next();
    } finally {
      running -= 1;
    }
    context.header('x-content-type-options', 'nosniff');
    done(context.res);
  });

  const files = pageFiles();
  const open = new Set([...OPEN_PATHS, ...files.map(({ path }) => path)]);
  const methods = new Map([...OPEN_PATHS, '/metrics'].map((path) => [path, ['GET']]));
  for (const { path, method } of routes)
    methods.set(path, [...(methods.get(path) ?? []), method.toUpperCase()]);
  const known = new Set(methods.keys());
  for (const route of routes) {
    app.on(route.method.toUpperCase(), route.path, (context) => answer(context, route, options));
  }
  app.get('/health', (context) => context.json({ ok: true }));
  app.get('/metrics', (context) => context.text(metrics.format()));
  app.get('/openapi.json', (context) => context.json(openApiDocument(routes, version)));
  app.get('/', (context) => context.html(page, 200, PAGE_HEADERS));
  for (const file of files) app.get(file.path, () => pageFile(file));
  app.notFound((context) => {
    const { method, path } = context.req;
    const allowed = methods.get(path)?.join(', ');
    if (allowed === undefined) return failure(context, 404, `no route ${method} ${path}`, ROUTES);
    context.header('allow', allowed);
    return failure(context, 405, `${path} takes ${allowed}, not ${method}`);
  });
  app.onError((error, context) => failureOf(error, context));
  return app;
}

function isToken(header: string | undefined, token: string): boolean {
  const given = Buffer.from(header?.replace(/^Bearer +/i, '') ?? '');
  const wanted = Buffer.from(token);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function answer(
  context: Context,
  { method, run }: Route,
  { maxBodyBytes }: AppOptions,
): Promise<Response> {
  const body = method === 'get' ? {} : await readBody(context, maxBodyBytes);
  const result = await run({ body, signal: context.req.raw.signal });
  return result instanceof EventResponse ? result.response() : context.json(result as Json);
}

async function readBody(context: Context, maxBytes: number): Promise<Json> {
  // A page of another site can send texts here without asking, but not JSON.
  if (!/^application\/json\b/i.test(context.req.header('content-type') ?? '')) {
    throw new HttpError(415, 'the body must be JSON', {
      help: 'send the header content-type: application/json',
    });
  }
  const tooLarge = () =>
    new HttpError(413, `the body is larger than ${maxBytes} bytes`, { help: 'send it in several requests' });
  if (Number(context.req.header('content-length')) > maxBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of context.req.raw.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const value = parseBody(Buffer.concat(chunks));
  if (!isObject(value)) throw new HttpError(400, 'the body must be a JSON object');
  return value;
}

function parseBody(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = parseShallowJson(text);
  } catch (error) {
    throw new HttpError(400, `the body is not valid JSON: ${(error as Error).message}`);
  }
  const repeated = repeatedKey(text);
  if (repeated === undefined) return value;
  throw new HttpError(
    400,
    `the body has the key ${JSON.stringify(repeated.slice(0, 80))} twice in one object`,
  );
}

const pageFile = ({ type, text }: PageFile): Response =>
  new Response(text, {
    headers: { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' },
  });
