import type { Json } from '../util/json-objects.ts';
import type { Answerer } from './answer/answerer.ts';
import type { Metrics } from './metrics.ts';
import type { StoreThread } from './worker-client.ts';

/** What the routes work with. */
export interface Backend {
  /** Searches and embeds. */
  readonly reader: StoreThread;
  /** Changes the store; undefined if the server only reads. */
  readonly writer: StoreThread | undefined;
  /** Language model that answers questions; undefined if there is none. */
  readonly answerer: Answerer | undefined;
  /** Name of the cross-encoder that reranks; undefined if there is none. */
  readonly reranker: string | undefined;
  /** Aborted when the server closes, which ends answers that are being written. */
  readonly closing: AbortSignal;
  /** Metrics of the server. */
  readonly metrics: Metrics;
}

/** Request as a route sees it. */
export interface RouteRequest {
  /** Parsed body; an empty object for GET. */
  readonly body: Json;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

/** Route of the JSON interface. The server and the OpenAPI document are made from the table of routes. */
export interface Route {
  readonly method: 'get' | 'post' | 'delete';
  readonly path: string;
  readonly summary: string;
  /** JSON schema of the body. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Whether the route changes the store. */
  readonly writes?: true;
  /** Whether the result is a stream of server-sent events. */
  readonly streams?: true;
  /** Makes the result: a JSON value, or an `EventResponse`. */
  readonly run: (request: RouteRequest) => Promise<unknown>;
}

/** Texts of one embedding request at most. */
export const MOST_TEXTS = 2048;
