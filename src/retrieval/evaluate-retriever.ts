import type { RetrievalData } from '../data/retrieval-data.ts';
import { parseMetrics } from '../eval/metric-spec.ts';
import { type Evaluation, evaluate } from '../eval/metrics.ts';
import type { Run } from '../eval/ranking.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { LexicalRanker } from '../text/lexical-rankers.ts';
import { checkOption, checkOptions, type GivenOptions } from '../util/option-table.ts';
import { DENSE_OPTIONS, LEXICAL_OPTIONS, SPLIT_OPTIONS } from './retrieval-options.ts';
import {
  DENSE_CALLER_OPTIONS,
  type DenseRetrieveOptions,
  LEXICAL_CALLER_OPTIONS,
  type LexicalRetrieveOptions,
  type RetrievalTask,
  retrievalTask,
  retrieve,
  retrieveLexical,
} from './retrieve.ts';

/** Settings of an evaluation on a split. */
export interface SplitOptions extends GivenOptions<typeof SPLIT_OPTIONS> {
  /** Metrics to compute, such as `ndcg@10`. */
  metrics: readonly string[];
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
  checkOption('metrics', SPLIT_OPTIONS.metrics, metrics);
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
  checkOptions({ ...SPLIT_OPTIONS, ...DENSE_OPTIONS }, options, DENSE_CALLER_OPTIONS);
  const { metrics, limitQueries, missingQueries, ...own } = options;
  const task = retrievalTask(data, split, { limitQueries });
  const depth = searchDepth(metrics);
  return measure(task, options, await retrieve(retriever, data, task, { ...own, topK: own.topK ?? depth }));
}

/** Evaluates BM25 on a split. */
export async function evaluateBm25(
  data: RetrievalData,
  split: string,
  options: SplitOptions & LexicalRetrieveOptions,
): Promise<RetrieverEvaluation> {
  return await evaluateLexical('bm25', data, split, options);
}

/**
 * Evaluates BM25 or TF-IDF on a split.
 *
 * @example const { metrics } = await evaluateLexical('tfidf', data, 'test', { metrics: ['ndcg@10'] });
 */
export async function evaluateLexical(
  ranker: LexicalRanker,
  data: RetrievalData,
  split: string,
  options: SplitOptions & LexicalRetrieveOptions,
): Promise<RetrieverEvaluation> {
  checkOptions({ ...SPLIT_OPTIONS, ...LEXICAL_OPTIONS }, options, LEXICAL_CALLER_OPTIONS);
  const { metrics, limitQueries, missingQueries, ...own } = options;
  const task = retrievalTask(data, split, { limitQueries });
  const depth = searchDepth(metrics);
  return measure(
    task,
    options,
    await retrieveLexical(ranker, data, task, { ...own, topK: own.topK ?? depth }),
  );
}

function measure(task: RetrievalTask, options: SplitOptions, run: Run): RetrieverEvaluation {
  const evaluation = evaluate(task.qrels, run, {
    metrics: options.metrics,
    missingQueries: options.missingQueries ?? SPLIT_OPTIONS.missingQueries.default,
  });
  return { ...evaluation, run, task };
}
