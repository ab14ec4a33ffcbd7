import type { RetrievalData } from '../data/retrieval-data.ts';
import { pearson, spearman } from '../eval/correlation.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TokenStore } from '../text/token-store.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { positionsIn } from '../util/vector-rows.ts';

/** Metrics of scored pairs: correlations of the cosines with the scores. */
export const PAIR_METRICS = ['spearman', 'pearson'] as const;

/**
 * Checks that all metrics are metrics of scored pairs.
 *
 * @throws UsageError for another metric
 */
export function checkPairMetrics(metrics: readonly string[]): void {
  for (const name of metrics) {
    if (PAIR_METRICS.some((known) => known === name)) continue;
    throw new UsageError(`scored pairs have no metric "${name}"`, {
      help: `use ${PAIR_METRICS.join(' or ')}`,
    });
  }
}

/**
 * Evaluates a retriever on scored pairs (`loadScoredPairs`). Each distinct text is embedded once, first texts
 * as queries and second texts as documents.
 *
 * @param options.limitPairs  maximum number of pairs to use, evenly spaced over the split; default all
 * @param options.tokens  token ids of all texts, if they are at hand, as during training
 */
export async function evaluateScoredPairs(
  retriever: Retriever,
  data: RetrievalData,
  split: string,
  options: ComputeOptions & {
    limitPairs?: number | undefined;
    tokens?: { queries: TokenStore; documents: TokenStore } | undefined;
    onProgress?: ((progress: Progress) => void) | undefined;
  } = {},
): Promise<{ metrics: Record<(typeof PAIR_METRICS)[number], number>; pairs: number }> {
  const { limitPairs, tokens, onProgress, ...compute } = options;
  const { queryRows, positives } = data.examples(split);
  const count = Math.min(queryRows.length, limitPairs ?? Number.POSITIVE_INFINITY);
  const picked = Uint32Array.from({ length: count }, (_, i) => Math.floor((i * queryRows.length) / count));
  const embed = async (side: 'query' | 'document', all: Int32Array) => {
    const rows = picked.map((i) => all[i]!);
    const texts = side === 'query' ? data.queries : data.corpus;
    const given = side === 'query' ? tokens?.queries : tokens?.documents;
    const store = given ?? retriever.tokenize(side, texts.size, (row) => texts.text(row));
    const distinct = Uint32Array.from(new Set(rows));
    const stage = side === 'query' ? 'encode first texts' : 'encode second texts';
    const vectors = await retriever.encodeTokens(side, store, {
      ...compute,
      rows: distinct,
      onProgress: (progress) => onProgress?.({ ...progress, stage }),
    });
    const places = positionsIn(distinct, texts.size);
    const D = retriever.dimension;
    return (pair: number) => {
      const at = places[rows[pair]!]! * D;
      return vectors.subarray(at, at + D);
    };
  };
  const first = await embed('query', queryRows);
  const second = await embed('document', positives.rows);
  const cosines = Float64Array.from(picked, (_, pair) => cosine(first(pair), second(pair)));
  const scores = Float64Array.from(picked, (i) => positives.scores![i]!);
  return {
    metrics: { spearman: spearman(cosines, scores), pearson: pearson(cosines, scores) },
    pairs: count,
  };
}

function cosine(x: Float32Array, y: Float32Array): number {
  let [product, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    product += x[i]! * y[i]!;
    xx += x[i]! ** 2;
    yy += y[i]! ** 2;
  }
  return product / Math.max(Math.sqrt(xx) * Math.sqrt(yy), 1e-12);
}
