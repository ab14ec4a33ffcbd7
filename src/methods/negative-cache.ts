import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { TABLE_OPTIONS } from './table/table-options.ts';

/**
 * Negative cache: softmax cross-entropy against a large cache of stale embeddings. Only sampled negatives are embedded again.
 *
 *   j_i ~ softmax( q_i·b_n / τ ) over the cache        b: cached embeddings, right answers of i left out
 *   L   = (1/B) Σ_i (1 − p⁺_i) (s_ij − s⁺_i)           p⁺ from the cache, s fresh (`src/losses/expectation.ts`)
 *
 * If the cache were fresh, the expected gradient would be that of the full softmax over the positive and the cache. Fresh
 * embeddings are written back. The batch's positives enter the cache, and the oldest rows leave it (streaming). With `cacheSize`
 * 0 the cache holds the whole corpus, and no row leaves it. `refresh` can add a share of the rows per step
 * (`write-back,fraction:0.001`).
 *
 * Cost per step: B positives and up to B k negatives embedded, 2 B C D operations of scoring. Memory: C rows of D numbers.
 *
 * Differs from the paper's code: a document is cached once, right answers and empty rows are masked, draws are exact and from the
 * whole cache, k may be more than 1.
 */
export const negativeCache: Method = {
  id: 'negative-cache',
  aliases: ['cached-gumbel-max', 'lindgren'],
  summary:
    'negatives sampled from the softmax over a cache of stale embeddings; only those are embedded again',
  paper: {
    title: 'Efficient Training of Retrieval Models using Negative Cache',
    year: 2021,
    url: 'https://proceedings.neurips.cc/paper/2021/hash/2175f8c5cd9604f6b1e576b252d4c86e-Abstract.html',
  },
  options: withDefaults(TABLE_OPTIONS, { cacheSize: 4096, refresh: 'write-back,stream' }),
  losses: LOSS_FORMS,
  check: checkTablePlan,
  describe: describeTable,
  start: (context) => TableMethod.start('negative-cache', context),
};
