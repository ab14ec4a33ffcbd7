import { loadData } from '../../data/load.ts';
import type { LoadOptions } from '../../data/load-options.ts';
import { parseMetric } from '../../eval/metric-spec.ts';
import { measureBaseline } from '../../retrieval/baseline.ts';
import { evaluateRetriever, searchDepth } from '../../retrieval/evaluate-retriever.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { ExampleKind, TrainingData } from './example-kind.ts';
import { withScores } from './teacher-scores.ts';
import { tokenizeSide } from './tokenize-data.ts';
import { withAnswers } from './with-answers.ts';

/** Metrics of every evaluation, besides the metric that decides. */
const METRICS = ['ndcg@10', 'mrr@10', 'recall@10'];

/** Example kind of queries and their documents. */
export const pairs: ExampleKind = {
  nouns: { texts: 'documents', examples: 'training queries', batch: 'queries' },
  evalSplit: 'dev',
  ownSplits: [],
  evalMetric: 'ndcg@10',
  checkMetric: (metric) => void parseMetric(metric),
  load: ({ data, evalData, evalSplit }, options) =>
    loadBoth(loadData, { data, evalData, evalSplit }, options),
  tokenize: (retriever, data, options) => ({
    documents: tokenizeSide(retriever, 'document', data, options),
    queries: tokenizeSide(retriever, 'query', data, options),
  }),
  evaluationTokens: (retriever, evaluation, options) => ({
    documents: tokenizeSide(retriever, 'document', evaluation, options),
    queries: tokenizeSide(retriever, 'query', evaluation, options),
  }),
  usable(examples, { settings, method, answers }) {
    if (method.distils) return withScores(examples, settings.data);
    return method.answers ? withAnswers(examples, answers, settings.data) : { examples };
  },
  measure: measureRetrieval,
  baseline: retrievalBaseline,
};

const metricsOf = (evalMetric: string): string[] => [...new Set([evalMetric, ...METRICS])];

/** Loads data to train on and data to evaluate on, which may be the same. With data of its own to evaluate on, nothing is held out. */
export async function loadBoth(
  load: typeof loadData,
  { data: source, evalData, evalSplit }: Parameters<ExampleKind['load']>[0],
  options: LoadOptions,
): Promise<TrainingData> {
  if (source === undefined) {
    throw new UsageError(`${option('data')} is missing: documents alone have no queries`, {
      help: `give queries with their documents, or train on documents alone by ${option('method', 'crop')}`,
    });
  }
  if (evalData === undefined) {
    const data = await load(source, { ...options, neededSplits: ['train', evalSplit] });
    return { data, evaluation: data };
  }
  const whole = { devFraction: 0, testFraction: 0, neededSplits: ['train'] };
  const data = await load(source, { ...options, ...whole });
  const own = { ...options, documents: undefined, neededSplits: [evalSplit] };
  return { data, evaluation: await load(evalData, own) };
}

/** Evaluates retrieval by the metric that decides, and by nDCG@10, MRR@10 and recall@10. */
export async function measureRetrieval(
  ...[retriever, evaluation, { evalSplit, evalMetric }, { limit, ranking, ...options }]: Parameters<
    ExampleKind['measure']
  >
): Promise<Readonly<Record<string, number>>> {
  const metrics = metricsOf(evalMetric);
  const found = await evaluateRetriever(retriever, evaluation, evalSplit, {
    ...{ metrics, limitQueries: limit, ...options },
    ...(ranking && { topK: Math.max(ranking.depth, searchDepth(metrics)) }),
  });
  ranking?.take(found);
  return found.metrics;
}

/** Measures BM25 as {@link measureRetrieval} measures a retriever. */
export async function retrievalBaseline(
  ...[evaluation, { evalSplit, evalMetric }, { limit, onProgress }]: Parameters<
    NonNullable<ExampleKind['baseline']>
  >
): Promise<Readonly<Record<string, number>> | undefined> {
  const metrics = metricsOf(evalMetric);
  return await measureBaseline(evaluation, evalSplit, { metrics, limitQueries: limit, onProgress });
}
