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

export interface SplitOptions {
  /** Such as `ndcg@10`. */
  metrics: readonly string[];
  /** At most so many queries, evenly spaced over the split. */
  limitQueries?: number | undefined;
  /** Queries without results: metrics of 0 (default), or left out of the mean. */
  missingQueries?: 'zero' | 'skip' | undefined;
}

/** An evaluation with the results behind it. */
export interface RetrieverEvaluation extends Evaluation {
  readonly run: Run;
  readonly task: RetrievalTask;
}

/** Documents that a metric without a cutoff looks at, as in TREC. */
const FULL_DEPTH = 1000;

/** Documents for each query that these metrics look at. */
export function searchDepth(metrics: readonly string[]): number {
  return Math.max(...parseMetrics(metrics).map(({ cutoff }) => (cutoff === Infinity ? FULL_DEPTH : cutoff)));
}

/**
 * Measures a retriever on a split: embeds queries and documents, searches exactly, and compares with the judgements.
 *
 * `topK` defaults to what the metrics look at. During training, hand in `tokens` so that nothing is tokenised twice.
 *
 * @example
 * const { metrics } = await evaluateRetriever(retriever, data, 'dev', { metrics: ['ndcg@10'] });
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

/** Measures BM25 on a split. */
export async function evaluateBm25(
  data: RetrievalData,
  split: string,
  options: SplitOptions & Bm25RetrieveOptions,
): Promise<RetrieverEvaluation> {
  const task = retrievalTask(data, split, options);
  return measure(task, options, await retrieveBm25(data, task, withDepth(options)));
}

/** Reads the metrics first of all: a misspelt one should not wait for the search. */
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
