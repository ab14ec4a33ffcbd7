import { parentPort, workerData } from 'node:worker_threads';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { ageMap } from '../store/age-map.ts';
import { indexPassages } from '../store/index-passages.ts';
import { removePassages } from '../store/maintain.ts';
import { Store } from '../store/store.ts';
import { storeStatus } from '../store/store-status.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { BackgroundRefresh } from './background-refresh.ts';
import { Searchers } from './searchers.ts';
import type { CallName, WorkerCalls, WorkerError, WorkerRequest, WorkerSettings } from './worker-messages.ts';

// A thread of its own that searches or changes a store, so that the thread of the HTTP server never waits for a model.

const { folder, threads, rerank, refresh: refreshOptions } = workerData as WorkerSettings;
const compute = { ...(threads !== undefined && { threads }) };
const store = await Store.open(folder);
const searchers = new Searchers(store, compute);
const crossEncoder = rerank && (await loadCrossEncoder(rerank.model, { option: 'rerank' }));

const CALLS: { [C in CallName]: (values: WorkerCalls[C]['arguments']) => Promise<WorkerCalls[C]['result']> } =
  {
    async search({ texts, options, space, rerank: wanted = false }) {
      const searcher = await searchers.of(space);
      if (!wanted) return await searcher.searchAll(texts, options);
      if (!crossEncoder) {
        throw new UsageError('this server has no cross-encoder to rerank with', {
          help: 'start it with --rerank MODEL',
        });
      }
      return await searcher.searchAll(texts, {
        ...options,
        rerank: { crossEncoder, depth: rerank!.depth, ...compute },
      });
    },
    async embed({ texts, side, space: wanted }) {
      const searcher = await searchers.of(wanted);
      if (side === 'query') return await searcher.embedQueries(texts);
      return await searcher.useModel(async (retriever, space) => {
        const tokens = retriever.tokenize(side, texts.length, (row) => texts[row]!);
        const vectors = await retriever.encodeTokens(side, tokens, compute);
        return { vectors, dimension: retriever.dimension, tokens: tokens.lengths, space };
      });
    },
    upsert: ({ passages }) =>
      searchers.current.useModel((retriever) => indexPassages(store, retriever, passages, compute)),
    remove: async ({ ids }) => ({ removed: await removePassages(store, ids) }),
    status: () => storeStatus(store),
    ages: () => ageMap(store),
    spaces: async () => ({ current: store.head.current, spaces: store.head.spaces }),
    async notice({ pids }) {
      refresh?.notice(pids);
      return {};
    },
    async look() {
      await refresh?.look();
      return {};
    },
    async reload() {
      await searchers.reload();
      void inTurn(() => searchers.freeUnused());
      return {};
    },
  };

const asError = (error: unknown): WorkerError => {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const help = error instanceof UndriftError ? error.help : undefined;
  const [first] = help === undefined ? [message] : message.split('\n  help: ');
  return { name, message: first!, help, isUsage: error instanceof UsageError };
};

async function answer({ id, call, values }: WorkerRequest): Promise<void> {
  try {
    const result = await CALLS[call](values as never);
    parentPort!.postMessage({ id, result });
  } catch (error) {
    parentPort!.postMessage({ id, error: asError(error) });
  }
}

/** Calls that read the tables alone. They wait for nothing, since LanceDB reads in threads of its own. */
const BESIDE: readonly CallName[] = ['status', 'ages', 'spaces'];
const beside = new Set<Promise<void>>();

function answerBeside(request: WorkerRequest): void {
  const answered = answer(request).finally(() => beside.delete(answered));
  beside.add(answered);
}

// One call at a time: a second one would take memory and no less time. Only commits of others are read beside them, so that searches
// go on meanwhile.
let last: Promise<unknown> = Promise.resolve();
let reloads: Promise<unknown> = Promise.resolve();
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const result = last.then(work);
  last = result.catch(() => {});
  return result;
}

const refresh =
  refreshOptions &&
  new BackgroundRefresh({
    store,
    useModel: (work) => searchers.current.useModel(work),
    exclusively: inTurn,
    compute,
    options: refreshOptions,
    onStatus: (status) => parentPort!.postMessage({ refresh: status }),
  });

async function close(): Promise<void> {
  // Before its turn, because the refresh takes turns until it has ended.
  await Promise.all([refresh?.close(), reloads]);
  await inTurn(async () => {
    await Promise.all(beside);
    await crossEncoder?.dispose();
    await searchers.dispose();
    await store.close();
    parentPort!.close();
  });
}

parentPort!.on('message', (request: WorkerRequest | 'close') => {
  if (request === 'close') void close();
  else if (BESIDE.includes(request.call)) answerBeside(request);
  else if (request.call === 'reload') reloads = reloads.then(() => answer(request));
  else void inTurn(() => answer(request));
});
parentPort!.postMessage({ id: 0, result: {} });
