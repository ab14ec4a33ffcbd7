import { loadData } from '../../data/load.ts';
import { parseMetric } from '../../eval/metric-spec.ts';
import { measureBaseline } from '../../retrieval/baseline.ts';
import { evaluateRetriever } from '../../retrieval/evaluate-retriever.ts';
import type { ExampleKind } from './example-kind.ts';
import { withScores } from './teacher-scores.ts';
import { tokenizeSide } from './tokenize-data.ts';

/** Metrics of every evaluation, besides the metric that decides. */
const METRICS = ['ndcg@10', 'mrr@10', 'recall@10'];

/** Example kind of queries and their documents. */
export const pairs: ExampleKind = {
  nouns: { texts: 'documents', examples: 'training queries', batch: 'queries' },
  evalSplit: 'dev',
  ownSplits: [],
  evalMetric: 'ndcg@10',
  checkMetric: (metric) => void parseMetric(metric),
  async load({ data: source, evalSplit }, options) {
    const data = await loadData(source, { ...options, neededSplits: ['train', evalSplit] });
    return { data, evaluation: data };
  },
  tokenize: (retriever, data, onProgress) => ({
    documents: tokenizeSide(retriever, 'document', data, onProgress),
    queries: tokenizeSide(retriever, 'query', data, onProgress),
  }),
  evaluationTokens: (_retriever, _evaluation, trained) => trained,
  usable: (examples, { settings, method }) =>
    method.distils ? withScores(examples, settings.data) : { examples },
  measure: measureRetrieval,
  baseline: retrievalBaseline,
};

const metricsOf = (evalMetric: string): string[] => [...new Set([evalMetric, ...METRICS])];

/** Evaluates retrieval by the metric that decides, and by nDCG@10, MRR@10 and recall@10. */
export async function measureRetrieval(
  ...[retriever, evaluation, { evalSplit, evalMetric }, { limit, ...options }]: Parameters<
    ExampleKind['measure']
  >
): Promise<Readonly<Record<string, number>>> {
  const metrics = metricsOf(evalMetric);
  return (
    await evaluateRetriever(retriever, evaluation, evalSplit, { metrics, limitQueries: limit, ...options })
  ).metrics;
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
