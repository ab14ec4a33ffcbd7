import type { RetrievalData } from '../data/retrieval-data.ts';
import { type Evaluation, evaluate } from '../eval/metrics.ts';
import { type Run, rankDocuments, type ScoredDocument } from '../eval/ranking.ts';
import { searchDepth } from '../retrieval/evaluate-retriever.ts';
import { type RetrievalTask, retrievalTask } from '../retrieval/retrieve.ts';
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

/** Queries that are searched for at once. */
const QUERIES = 256;

/**
 * Measures the search in a store on the judged queries of a split. The ids of the passages are those of the data's documents.
 *
 * @throws UsageError if the store holds none of the judged documents
 */
export async function evaluateStore(
  store: Store,
  searcher: StoreSearcher,
  data: RetrievalData,
  split: string,
  { metrics, limitQueries, onProgress, ...search }: EvaluateStoreOptions,
): Promise<StoreEvaluation> {
  const task = retrievalTask(data, split, { limitQueries });
  const topK = search.topK ?? searchDepth(metrics);
  const ids = await idsOf(store);
  checkJudged(task, new Set(ids.values()), store);
  const run = new Map<string, readonly ScoredDocument[]>();
  const { queryRows } = task;
  for (let start = 0; start < queryRows.length; start += QUERIES) {
    const rows = Array.from(queryRows.subarray(start, start + QUERIES));
    const found = await searcher.rank(
      rows.map((row) => data.queries.text(row)),
      { ...search, topK },
    );
    for (const [i, row] of rows.entries()) {
      const { rows: pids, scores } = found[i]!;
      const scored = pids.map((pid, rank) => ({ docId: ids.get(pid)!, score: scores[rank]! }));
      run.set(data.queries.id(row), rankDocuments(scored));
    }
    onProgress?.({ stage: 'search', done: start + rows.length, total: queryRows.length, unit: 'queries' });
  }
  return { ...evaluate(task.qrels, run, { metrics }), run, task };
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
