import type { RetrievalData } from '../data/retrieval-data.ts';
import { parseMetrics } from '../eval/metric-spec.ts';
import { type Evaluation, evaluate } from '../eval/metrics.ts';
import type { Run } from '../eval/ranking.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import {
  type Bm25RetrieveOptions,
  type DenseRetrieveOptions,
  type RetrievalTask,
  type RetrieveOptions,
  retrievalTask,
  retrieve,
  retrieveBm25,
} from './retrieve.ts';

/** Settings of an evaluation on a split. */
export interface SplitOptions {
  /** Metrics to compute, such as `ndcg@10`. */
  metrics: readonly string[];
  /** Maximum number of queries to use, evenly spaced over the split. Default all. */
  limitQueries?: number | undefined;
  /**
   * Treatment of queries without results. `zero` (default): their metrics are 0. `skip`: they are left out of
   * the mean.
   */
  missingQueries?: 'zero' | 'skip' | undefined;
}

/** Evaluation of a retriever, together with its search results. */
export interface RetrieverEvaluation extends Evaluation {
  /** Documents found for each query. */
  readonly run: Run;
  /** Queries and judgements of the evaluation. */
  readonly task: RetrievalTask;
}

/** Depth of a metric without a cutoff, as in TREC. */
const FULL_DEPTH = 1000;

/** Returns the number of documents per query that these metrics look at. */
export function searchDepth(metrics: readonly string[]): number {
  return Math.max(...parseMetrics(metrics).map(({ cutoff }) => (cutoff === Infinity ? FULL_DEPTH : cutoff)));
}

/**
 * Evaluates a retriever on a split: embeds queries and documents, searches exactly, and compares the results
 * with the judgements.
 *
 * `topK` defaults to the depth of the metrics. During training, pass `tokens` so that nothing is tokenized
 * twice.
 *
 * @example const { metrics } = await evaluateRetriever(retriever, data, 'dev', { metrics: ['ndcg@10'] });
 */
export async function evaluateRetriever(
  retriever: Retriever,
  data: RetrievalData,
  split: string,
  options: SplitOptions & DenseRetrieveOptions,
): Promise<RetrieverEvaluation> {
  const task = retrievalTask(data, split, options);
  return measure(task, options, await retrieve(retriever, data, task, withDepth(options)));
}

/** Evaluates BM25 on a split. */
export async function evaluateBm25(
  data: RetrievalData,
  split: string,
  options: SplitOptions & Bm25RetrieveOptions,
): Promise<RetrieverEvaluation> {
  const task = retrievalTask(data, split, options);
  return measure(task, options, await retrieveBm25(data, task, withDepth(options)));
}

/** Parses the metrics before the search, so that a misspelt name fails at once. */
function withDepth<O extends SplitOptions & RetrieveOptions>(options: O): O {
  const depth = searchDepth(options.metrics);
  return { ...options, topK: options.topK ?? depth };
}

function measure(task: RetrievalTask, options: SplitOptions, run: Run): RetrieverEvaluation {
  const evaluation = evaluate(task.qrels, run, {
    metrics: options.metrics,
    missingQueries: options.missingQueries ?? 'zero',
  });
  return { ...evaluation, run, task };
}
