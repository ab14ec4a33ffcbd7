import { parseCondition } from '../store/filter.ts';
import type { StoreSearchOptions } from '../store/store-searcher.ts';
import { UsageError } from '../util/errors.ts';
import type { Json } from '../util/json-objects.ts';
import { checkOptions, type OptionTable, type OptionValues, optionValues } from '../util/option-table.ts';
import { answerRoute } from './answer-route.ts';
import { Batcher } from './batcher.ts';
import { embedder } from './embedder.ts';
import { openAiRoutes } from './openai-routes.ts';
import { PASSAGES_SCHEMA, passagesIn } from './passages-body.ts';
import { addRefreshMetrics, noticing } from './refresh-notice.ts';
import { ANSWER_BODY, bodySchema, EMBED_BODY, REMOVE_BODY, SEARCH_BODY } from './request-options.ts';
import { type Backend, MOST_TEXTS, type Route, type RouteRequest } from './route.ts';
import type { StoreThread } from './worker-client.ts';
import type { WorkerCalls } from './worker-messages.ts';

/** Searches and embeddings of one batch at most. */
const BATCH = 64;

/** Makes the routes. */
export function makeRoutes(backend: Backend): readonly Route[] {
  const { reader, writer, answerer, metrics } = backend;
  type Search = {
    text: string;
    options: Omit<StoreSearchOptions, 'rerank'>;
    space: string | undefined;
    rerank: boolean;
  };
  const searches = new Batcher<Search, WorkerCalls['search']['result'][number]>(
    (batch) => reader.call('search', { ...batch[0]!, texts: batch.map(({ text }) => text) }),
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

  const find = async (table: typeof SEARCH_BODY | typeof ANSWER_BODY, { body, signal }: RouteRequest) => {
    const { query, space, filter, rerank, ...values } = searchIn(table, body);
    const options = { ...values, filter };
    const results = await searches.add(
      { text: query, options, space, rerank },
      JSON.stringify([options, space, rerank]),
      signal,
    );
    if (space === undefined) notice?.(results.map(({ pid }) => pid));
    return { query, mode: options.mode, ...(space !== undefined && { space }), results };
  };
  const ages = atIntervals(() => reader.call('ages', {}));
  // One change at a time: those of clients that leave before their turn are dropped.
  const changes = new Batcher<() => Promise<unknown>, unknown>(
    async ([change]) => {
      const result = await change!();
      await reader.call('reload', {});
      return [result];
    },
    { most: 1 },
  );
  metrics.gauge('undrift_change_queue', 'Changes that wait for their turn.', () => changes.waiting);
  const change = (signal: AbortSignal, work: (thread: StoreThread) => Promise<unknown>): Promise<unknown> => {
    if (writer) return changes.add(() => work(writer), '', signal);
    throw new UsageError('this server does not change its store', { help: 'start it without --read-only' });
  };
  const embed = embedder(backend);

  return [
    {
      method: 'post',
      path: '/search',
      summary: 'Find passages for a text.',
      body: bodySchema(SEARCH_BODY),
      async run(request) {
        const startMs = performance.now();
        const found = await find(SEARCH_BODY, request);
        return { ...found, seconds: secondsSince(startMs) };
      },
    },
    {
      method: 'post',
      path: '/embed',
      summary: 'Embed texts, in the current space or another.',
      body: bodySchema(EMBED_BODY),
      async run({ body, signal }) {
        checkRequired(body, ['texts']);
        checkOptions(EMBED_BODY, body);
        const { texts, ...values } = optionValues(EMBED_BODY, body);
        const given = { texts: checkTexts(texts!, 'texts'), ...values };
        const { vectors, dimension, space } = await embed(given, signal);
        return { embeddings: rowsOf(vectors, dimension), dimension, space };
      },
    },
    {
      method: 'post',
      path: '/passages',
      summary: 'Add passages, or replace those of known ids.',
      body: PASSAGES_SCHEMA,
      writes: true,
      async run({ body, signal }) {
        const passages = passagesIn(body);
        return await change(signal, (thread) => thread.call('upsert', { passages }));
      },
    },
    {
      method: 'delete',
      path: '/passages',
      summary: 'Remove passages by id.',
      body: bodySchema(REMOVE_BODY),
      writes: true,
      async run({ body, signal }) {
        checkRequired(body, ['ids']);
        checkOptions(REMOVE_BODY, body);
        const ids = optionValues(REMOVE_BODY, body).ids!;
        return await change(signal, (thread) => thread.call('remove', { ids }));
      },
    },
    {
      method: 'get',
      path: '/status',
      summary: 'Describe the store: passages, spaces, ages, progress of a migration.',
      async run() {
        const server = {
          readOnly: writer === undefined,
          answers: answerer?.name ?? null,
          reranker: backend.reranker ?? null,
        };
        const status = await reader.call('status', {});
        // The committed count: the one of the refresh does not know yet what other processes have embedded.
        const { stale: _, ...live } = writer?.refresh ?? { stale: 0 };
        const refresh = status.refresh && { ...status.refresh, ...live };
        return { ...status, refresh, server };
      },
    },
    {
      method: 'get',
      path: '/ages',
      summary: 'Count the passages by the versions of their vectors, in at most 600 blocks.',
      run: ages,
    },
    answerRoute(backend, ({ body, signal }) => find(ANSWER_BODY, { body, signal })),
    ...openAiRoutes(backend, embed),
  ];
}

/** Seconds since a moment, to a tenth of a millisecond. */
export const secondsSince = (startMs: number): number =>
  Number(((performance.now() - startMs) / 1000).toFixed(4));

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

/**
 * Reads a search from a body, by the table of a search or one that lacks some of its options.
 *
 * @throws UsageError for values that are wrong, or contradict each other
 */
export function searchIn(table: OptionTable, body: Json) {
  checkRequired(body, ['query']);
  checkOptions(table, body);
  const { query, filter = [], ...values } = optionValues(table, body) as OptionValues<typeof SEARCH_BODY>;
  const refuse = (name: string): never => {
    throw new UsageError(`"${name}" has no effect with "mode": "${values.mode}"`, { help: 'leave it out' });
  };
  if (values.mode === 'bm25' && values.space !== undefined) refuse('space');
  if (values.mode === 'bm25' && values.approximate) refuse('approximate');
  if (values.mode !== 'hybrid' && values.denseWeight !== undefined) refuse('denseWeight');
  return { ...values, query: query!, filter: filter.map(parseCondition) };
}

/** Part of the time that a repeated measurement may take. */
const SHARE = 0.05;

/** Makes a function that works at most a twentieth of the time, and otherwise repeats its last result. */
export function atIntervals<T>(work: () => Promise<T>): () => Promise<T> {
  let last: Promise<T> | undefined;
  let nextMs = 0;
  return () => {
    if (last && performance.now() < nextMs) return last;
    nextMs = Number.POSITIVE_INFINITY;
    const startMs = performance.now();
    last = work().finally(() => {
      const endMs = performance.now();
      nextMs = endMs + (endMs - startMs) / SHARE;
    });
    return last;
  };
}
