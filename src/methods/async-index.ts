import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { TABLE_OPTIONS } from './table/table-options.ts';

/**
 * ANCE: negatives drawn uniformly from the top ranks of an index over the whole corpus. While training goes on, another process
 * rebuilds the index again and again with the newest weights.
 *
 *   j_i ~ uniform over the 200 best documents for q_i by the stale embeddings, right answers left out
 *   L   = (1/B) Σ_i softplus(s_ij − s⁺_i),     s fresh
 *
 * `--refresh async:n` begins a refresh every n steps, and takes the new embeddings in as soon as they are ready. `async:n:wait`
 * always takes them in exactly n steps later, so that runs can be repeated. `AsyncRefresh` says what happens when the process
 * fails. Every line of the log has `refreshLagSteps`. Each new table adds a line of kind `refresh` with the step whose weights
 * made it (`version`), the step at which it came in, and the time that it took. With `--cluster`, the workers of a cluster embed the
 * documents instead of the other process.
 *
 * Cost per step: B positives and up to B k negatives embedded, 2 B N D operations of scoring. Beside training, N documents are
 * embedded every n steps; both share the processor's cores. Memory: N rows of D numbers; in the other process, the encoder and
 * a block of 1,024 rows.
 *
 * Differs from the paper's code: ranks follow from the query as it is embedded now, not as it was when the index was built, so
 * that only documents are stale; every query can be drawn at any step, not a fifth of them per index; all known right answers are
 * left out, not one; search is exact; the version that made a negative is known and logged.
 */
export const asyncIndex: Method = {
  id: 'async-index',
  aliases: ['ance'],
  summary:
    'negatives from the top ranks of the whole corpus, which another process embeds again while training goes on',
  paper: {
    title: 'Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval',
    year: 2020,
    url: 'https://arxiv.org/abs/2007.00808',
  },
  options: withDefaults(TABLE_OPTIONS, { loss: 'pairwise', sampler: 'rank-range', refresh: 'async:500' }),
  losses: LOSS_FORMS,
  check: checkTablePlan,
  describe: describeTable,
  start: (context) => TableMethod.start('async-index', context),
};
