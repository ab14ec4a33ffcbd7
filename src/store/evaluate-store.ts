import type { RetrievalData } from '../data/retrieval-data.ts';
import { type Evaluation, evaluate } from '../eval/metrics.ts';
import { type Run, rankDocuments } from '../eval/ranking.ts';
import { searchDepth } from '../retrieval/evaluate-retriever.ts';
import { type RetrievalTask, retrievalTask } from '../retrieval/retrieve.ts';
import { fuseScores, type RankedRows } from '../search/fusion.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { Store } from './store.ts';
import type { StoreSearcher, StoreSearchOptions } from './store-searcher.ts';

/** Settings of {@link evaluateStore}. */
export interface EvaluateStoreOptions extends StoreSearchOptions {
  /** Metrics to compute, such as `ndcg@10`. */
  readonly metrics: readonly string[];
  /** Largest number of queries. Default all. */
  readonly limitQueries?: number | undefined;
  /** Called with progress in queries. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Evaluation of a search in a store. */
export interface StoreEvaluation extends Evaluation {
  /** Passages found for each query. */
  readonly run: Run;
  /** Queries and judgements. */
  readonly task: RetrievalTask;
}

/** Searcher that is measured. Only one that reads the passages can rerank them. */
export type StoreRanker = Pick<StoreSearcher, 'rank'> & Partial<Pick<StoreSearcher, 'searchAll'>>;

/** Queries that are searched for at once. */
const QUERIES = 256;
/** Queries whose results are reranked at once. */
const RERANKED_QUERIES = 16;

/**
 * Measures the search in a store on the judged queries of a split. The ids of the passages are those of the data's documents.
 *
 * @throws UsageError if the store holds none of the judged documents
 */
export async function evaluateStore(
  store: Store,
  searcher: StoreRanker,
  data: RetrievalData,
  split: string,
  { metrics, limitQueries, onProgress, ...search }: EvaluateStoreOptions,
): Promise<StoreEvaluation> {
  const task = retrievalTask(data, split, { limitQueries });
  const topK = search.topK ?? searchDepth(metrics);
  const ranked = await rankQueries(store, searcher, data, task, { ...search, topK, onProgress });
  const run = ranked.run((i) => ranked.rankings[i]!);
  return { ...evaluate(task.qrels, run, { metrics }), run, task };
}

/** Rankings of the queries of a task, and the way from rankings to a run. */
interface RankedQueries {
  /** Rankings, in the order of the queries. */
  readonly rankings: readonly RankedRows[];
  /** Makes a run of the rankings of the queries, by their place. */
  run(ranking: (i: number) => RankedRows): Run;
}

async function rankQueries(
  store: Store,
  searcher: StoreRanker,
  data: RetrievalData,
  task: RetrievalTask,
  { onProgress, ...search }: StoreSearchOptions & Pick<EvaluateStoreOptions, 'onProgress'>,
): Promise<RankedQueries> {
  const ids = await idsOf(store);
  checkJudged(task, new Set(ids.values()), store);
  const queries = Array.from(task.queryRows);
  const rankings: RankedRows[] = [];
  const block = search.rerank ? RERANKED_QUERIES : QUERIES;
  for (let start = 0; start < queries.length; start += block) {
    const texts = queries.slice(start, start + block).map((row) => data.queries.text(row));
    rankings.push(...(await rankedBy(searcher, texts, search)));
    onProgress?.({ stage: 'search', done: rankings.length, total: queries.length, unit: 'queries' });
  }
  return {
    rankings,
    run: (ranking) =>
      new Map(
        queries.map((row, i) => {
          const { rows, scores } = ranking(i);
          const scored = Array.from(rows, (pid, rank) => ({ docId: ids.get(pid)!, score: scores[rank]! }));
          return [data.queries.id(row), rankDocuments(scored)];
        }),
      ),
  };
}

/** Ranks passages for several texts. Reranking reads the passages themselves. */
async function rankedBy(
  searcher: StoreRanker,
  texts: readonly string[],
  search: StoreSearchOptions,
): Promise<RankedRows[]> {
  if (!search.rerank) return await searcher.rank(texts, search);
  if (!searcher.searchAll) throw new UsageError('a searcher that reads no passages cannot rerank them');
  return (await searcher.searchAll(texts, search)).map((hits) => ({
    rows: hits.map(({ pid }) => pid),
    scores: hits.map(({ score }) => score),
  }));
}

/** Weight of the vectors in a hybrid search, with its measurement. */
export interface TunedWeight {
  /** Weight w in [0, 1]. */
  readonly denseWeight: number;
  /** Value of the metric on the split that it was tuned on. */
  readonly value: number;
  /** Value of every weight that was tried. */
  readonly tried: readonly { readonly denseWeight: number; readonly value: number }[];
}

/** Weights that are tried: 0, 0.1, …, 1. */
const WEIGHTS = Array.from({ length: 11 }, (_, i) => i / 10);
const CANDIDATES = 100;

/**
 * Finds the weight of the vectors in a hybrid search that is best on a split, which should not be the one that is reported.
 *
 * @param metric  metric to maximise, such as `ndcg@10`
 */
export async function tuneDenseWeight(
  store: Store,
  searcher: StoreSearcher,
  data: RetrievalData,
  split: string,
  {
    metric,
    limitQueries,
    onProgress,
  }: { metric: string } & Pick<EvaluateStoreOptions, 'limitQueries' | 'onProgress'>,
): Promise<TunedWeight> {
  const task = retrievalTask(data, split, { limitQueries });
  const topK = Math.max(CANDIDATES, searchDepth([metric]));
  const dense = await rankQueries(store, searcher, data, task, { mode: 'dense', topK, onProgress });
  const bm25 = await rankQueries(store, searcher, data, task, { mode: 'bm25', topK, onProgress });
  const tried = WEIGHTS.map((denseWeight) => {
    const weights = [denseWeight, 1 - denseWeight];
    const run = dense.run((i) => fuseScores([dense.rankings[i]!, bm25.rankings[i]!], weights));
    return { denseWeight, value: evaluate(task.qrels, run, { metrics: [metric] }).metrics[metric]! };
  });
  const best = tried.reduce((a, b) => (b.value > a.value ? b : a));
  return { ...best, tried };
}

async function idsOf(store: Store): Promise<Map<number, string>> {
  const ids = new Map<number, string>();
  for await (const { pid, id } of (await store.snapshot()).passages.ids()) ids.set(pid, id);
  return ids;
}

/** Checks that the store holds judged documents, so that a store of other data is not measured as a bad one. */
function checkJudged({ qrels, split }: RetrievalTask, ids: ReadonlySet<string>, store: Store): void {
  for (const grades of qrels.values()) for (const id of grades.keys()) if (ids.has(id)) return;
  throw new UsageError(`the store ${store.folder} holds none of the documents that split "${split}" judges`, {
    help: 'index the documents of this data set',
  });
}
