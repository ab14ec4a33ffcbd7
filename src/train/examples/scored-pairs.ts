import type { TrainingExamples } from '../../data/examples.ts';
import { loadScoredPairs } from '../../data/scored-pairs.ts';
import { checkPairMetrics, evaluateScoredPairs } from '../../retrieval/evaluate-scored-pairs.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { ExampleKind } from './example-kind.ts';
import { loadBoth, pairs } from './pairs.ts';

/** Pairs without a measurement of BM25, which gives two texts no cosine. */
const { baseline: _, ...unranked } = pairs;

/**
 * Example kind of pairs of texts with a score each. The first text is the query and the second the positive; the pair's score is
 * that of the positive.
 */
export const scoredPairs: ExampleKind = {
  ...unranked,
  nouns: { texts: 'second texts', examples: 'training pairs', batch: 'pairs' },
  evalMetric: 'spearman',
  checkMetric: (metric) => checkPairMetrics([metric]),
  async load(source, options) {
    if (options.documents) {
      throw new UsageError(
        `pairs with scores have no documents besides their own: ${option('store')} has no part in them`,
        {
          help: `leave ${option('store')} out`,
        },
      );
    }
    return await loadBoth(loadScoredPairs, source, options);
  },
  usable(examples, { settings }) {
    if (settings.loss === 'cosine-similarity') checkCosines(examples, settings.data);
    return { examples };
  },
  async measure(retriever, evaluation, { evalSplit }, { limit, ...options }) {
    return (await evaluateScoredPairs(retriever, evaluation, evalSplit, { limitPairs: limit, ...options }))
      .metrics;
  },
};

/**
 * Checks that scores can be cosines.
 *
 * @throws DataError for scores outside of −1 to 1
 */
function checkCosines({ positives }: TrainingExamples, file: string): void {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const score of positives.scores ?? []) {
    least = Math.min(least, score);
    most = Math.max(most, score);
  }
  if (least >= -1 && most <= 1) return;
  throw new DataError(`cosine-similarity needs scores from −1 to 1; here they are from ${least} to ${most}`, {
    file,
    help: `divide them by the largest, or use ${option('loss', 'cosent')}, which heeds their order alone`,
  });
}
