import { parseCondition } from '../store/filter.ts';
import type { PassageInput } from '../store/passage-input.ts';
import type { StoreSearchOptions } from '../store/store-searcher.ts';
import { UsageError } from '../util/errors.ts';
import { isObject, type Json } from '../util/json-objects.ts';
import { checkOptions, optionValues } from '../util/option-table.ts';
import type { LiveRefresh } from './background-refresh.ts';
import { Batcher } from './batcher.ts';
import type { Metrics } from './metrics.ts';
import { bodySchema, EMBED_BODY, REMOVE_BODY, SEARCH_BODY } from './request-options.ts';
import type { StoreThread } from './worker-client.ts';
import type { WorkerCalls } from './worker-messages.ts';

/** What the routes work with. */
export interface Backend {
  /** Searches and embeds. */
  readonly reader: StoreThread;
  /** Changes the store; undefined if the server only reads. */
  readonly writer: StoreThread | undefined;
  /** Name of the model, for `/v1/models`. */
  readonly model: string;
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
  /** Makes the result. */
  readonly run: (request: RouteRequest) => Promise<unknown>;
}

/** Searches and embeddings of one batch at most. */
const BATCH = 64;
/** Texts of one embedding request at most. */
const MOST_TEXTS = 2048;
/** Passages of one upsert at most. */
const MOST_PASSAGES = 10_000;

/** Makes the routes. */
export function makeRoutes({ reader, writer, model, metrics }: Backend): readonly Route[] {
  type Search = { text: string; options: StoreSearchOptions };
  const searches = new Batcher<Search, WorkerCalls['search']['result'][number]>(
    (batch) => reader.call('search', { texts: batch.map(({ text }) => text), options: batch[0]!.options }),
    { most: BATCH },
  );
  metrics.gauge('undrift_search_queue', 'Searches that wait for a batch.', () => searches.waiting);
  metrics.gauge(
    'undrift_reader_calls',
    'Calls that the reading thread has not answered.',
    () => reader.pending,
  );

  const notice = writer && noticing(writer);
  if (writer) addRefreshMetrics(metrics, writer);

  const changed = async <R>(result: R): Promise<R> => {
    await reader.call('reload', {});
    return result;
  };
  const writing = (): StoreThread => {
    if (writer) return writer;
    throw new UsageError('this server does not change its store', { help: 'start it without --read-only' });
  };

  return [
    {
      method: 'post',
      path: '/search',
      summary: 'Find passages for a text.',
      body: bodySchema(SEARCH_BODY),
      async run({ body, signal }) {
        checkRequired(body, ['query']);
        checkOptions(SEARCH_BODY, body);
        const { query, filter = [], ...values } = optionValues(SEARCH_BODY, body);
        const options = { ...values, filter: filter.map(parseCondition) };
        const startMs = performance.now();
        const results = await searches.add({ text: query!, options }, JSON.stringify(options), signal);
        notice?.(results.map(({ pid }) => pid));
        return { query, mode: options.mode, results, seconds: secondsSince(startMs) };
      },
    },
    {
      method: 'post',
      path: '/embed',
      summary: 'Embed texts in the current space.',
      body: bodySchema(EMBED_BODY),
      async run({ body }) {
        checkRequired(body, ['texts']);
        checkOptions(EMBED_BODY, body);
        const { texts, side } = optionValues(EMBED_BODY, body);
        const { vectors, dimension, space } = await reader.call('embed', {
          texts: checkTexts(texts!, 'texts'),
          side,
        });
        return { embeddings: rowsOf(vectors, dimension), dimension, space };
      },
    },
    {
      method: 'post',
      path: '/passages',
      summary: 'Add passages, or replace those of known ids.',
      body: PASSAGES_SCHEMA,
      writes: true,
      run: async ({ body }) => changed(await writing().call('upsert', { passages: passagesIn(body) })),
    },
    {
      method: 'delete',
      path: '/passages',
      summary: 'Remove passages by id.',
      body: bodySchema(REMOVE_BODY),
      writes: true,
      async run({ body }) {
        checkRequired(body, ['ids']);
        checkOptions(REMOVE_BODY, body);
        return await changed(await writing().call('remove', { ids: optionValues(REMOVE_BODY, body).ids! }));
      },
    },
    {
      method: 'get',
      path: '/status',
      summary: 'Describe the store: passages, spaces, ages, progress of a migration.',
      async run() {
        const status = await reader.call('status', {});
        return { ...status, refresh: status.refresh && { ...status.refresh, ...writer?.refresh } };
      },
    },
    {
      method: 'post',
      path: '/v1/embeddings',
      summary: 'Embed texts, in the format of the OpenAI API.',
      body: OPENAI_SCHEMA,
      run: ({ body }) => openAiEmbeddings(body, reader, model),
    },
    {
      method: 'get',
      path: '/v1/models',
      summary: 'List the model, in the format of the OpenAI API.',
      run: async () => ({
        object: 'list',
        data: [{ id: model, object: 'model', created: 0, owned_by: 'undrift' }],
      }),
    },
  ];
}

/** Time in which found passages are collected before the refresh is told of them, in milliseconds. */
const NOTICE_MS = 250;

/** Makes the function that tells the refresh which passages searches have found. */
function noticing(writer: StoreThread): (pids: readonly number[]) => void {
  let found: number[] = [];
  return (pids) => {
    if (writer.refresh?.stale === 0) return;
    if (found.length === 0) {
      setTimeout(() => {
        writer.call('notice', { pids: found }).catch(() => {});
        found = [];
      }, NOTICE_MS).unref();
    }
    found.push(...pids);
  };
}

function addRefreshMetrics(metrics: Metrics, writer: StoreThread): void {
  const gauge = (name: string, help: string, read: (refresh: LiveRefresh) => number) =>
    metrics.gauge(name, help, () => (writer.refresh ? read(writer.refresh) : 0));
  gauge('undrift_stale_passages', 'Passages to embed by the current model.', ({ stale }) => stale);
  gauge('undrift_refresh_queue', 'Stale passages that searches have found.', ({ queue }) => queue);
  gauge('undrift_refreshed_passages', 'Passages embedded since the start.', ({ embedded }) => embedded);
  gauge('undrift_refresh_rate', 'Passages embedded per second.', ({ rate }) => rate?.passagesPerSecond ?? 0);
}

const secondsSince = (startMs: number): number => Number(((performance.now() - startMs) / 1000).toFixed(4));

function checkRequired(body: Json, names: readonly string[]): void {
  for (const name of names) {
    if (body[name] === undefined || body[name] === null) throw new UsageError(`"${name}" is missing`);
  }
}

function checkTexts(texts: readonly string[], name: string): readonly string[] {
  if (texts.length === 0) throw new UsageError(`"${name}" is empty`);
  if (texts.length > MOST_TEXTS)
    throw new UsageError(`"${name}" has ${texts.length} texts, more than ${MOST_TEXTS}`);
  return texts;
}

function rowsOf(vectors: Float32Array, dimension: number): number[][] {
  return Array.from({ length: vectors.length / dimension }, (_, row) =>
    Array.from(vectors.subarray(row * dimension, (row + 1) * dimension)),
  );
}

const PASSAGES_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['passages'],
  properties: {
    passages: {
      type: 'array',
      maxItems: MOST_PASSAGES,
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['id', 'text'],
        properties: {
          id: { type: 'string', minLength: 1 },
          title: { type: 'string' },
          text: { type: 'string' },
          metadata: { type: 'object', description: 'further fields, for filters' },
        },
      },
    },
  },
};

function passagesIn({ passages, ...others }: Json): PassageInput[] {
  const [other] = Object.keys(others);
  if (other !== undefined) throw new UsageError(`unknown field "${other}"`, { help: 'known: passages' });
  if (!Array.isArray(passages)) throw new UsageError('"passages" must be a list');
  if (passages.length > MOST_PASSAGES) {
    throw new UsageError(`"passages" has ${passages.length} items, more than ${MOST_PASSAGES}`, {
      help: 'send them in several requests, or use undrift index',
    });
  }
  return passages.map((found: unknown, i) => {
    const fail = (message: string): never => {
      throw new UsageError(`passages[${i}]: ${message}`);
    };
    if (!isObject(found)) return fail('should be an object');
    const { id, title, text, metadata, ...rest } = found;
    const [unknown] = Object.keys(rest);
    if (unknown !== undefined) fail(`unknown field "${unknown}"; known: id, title, text, metadata`);
    if (typeof id !== 'string' || id === '') return fail('"id" must be a text that is not empty');
    if (typeof text !== 'string') return fail('"text" must be a text');
    if (title !== undefined && typeof title !== 'string') return fail('"title" must be a text');
    if (metadata !== undefined && metadata !== null && !isObject(metadata))
      return fail('"metadata" must be an object');
    return { id, title: title as string | undefined, text, metadata: metadata as Json | undefined };
  });
}

const OPENAI_SCHEMA = {
  type: 'object',
  required: ['input'],
  properties: {
    input: { oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
    model: { type: 'string' },
    encoding_format: { type: 'string', enum: ['float', 'base64'], default: 'float' },
    dimensions: { type: 'integer', description: 'only the dimension of the model' },
    user: { type: 'string' },
    input_type: {
      type: 'string',
      enum: ['query', 'document'],
      default: 'document',
      description: 'side as which texts are embedded; not part of the OpenAI API',
    },
  },
};

async function openAiEmbeddings(body: Json, reader: StoreThread, model: string) {
  const { input, encoding_format: format = 'float', dimensions, input_type: side = 'document' } = body;
  const texts = typeof input === 'string' ? [input] : input;
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string')) {
    throw new UsageError('"input" must be a text or a list of texts', { help: 'token ids are not accepted' });
  }
  if (format !== 'float' && format !== 'base64')
    throw new UsageError('"encoding_format" must be float or base64');
  if (side !== 'query' && side !== 'document') throw new UsageError('"input_type" must be query or document');
  const { vectors, dimension, tokens } = await reader.call('embed', {
    texts: checkTexts(texts, 'input'),
    side,
  });
  if (dimensions !== undefined && dimensions !== dimension) {
    throw new UsageError(`"dimensions" is ${JSON.stringify(dimensions)}, the model has ${dimension}`);
  }
  const data = texts.map((_, index) => {
    const vector = vectors.subarray(index * dimension, (index + 1) * dimension);
    const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
    return {
      object: 'embedding',
      index,
      embedding: format === 'base64' ? bytes.toString('base64') : Array.from(vector),
    };
  });
  return { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}
