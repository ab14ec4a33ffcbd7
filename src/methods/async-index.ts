import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { TABLE_OPTIONS } from './table/table-options.ts';

/**
 * ANCE: negatives uniformly from the top ranks of an index over the whole corpus, which another process builds anew with the
 * newest weights again and again while training goes on.
 *
 *   j_i ~ uniform over the 200 best documents for q_i by the stale embeddings, right answers left out
 *   L   = (1/B) Σ_i softplus(s_ij − s⁺_i),     s fresh
 *
 * `--refresh async:n` begins a refresh every n steps and takes the new embeddings in when they are ready; `async:n:wait` takes them in
 * n steps later in any case, so that runs can be repeated. See `AsyncRefresh` for what happens when the process fails. The log
 * has `refreshLagSteps` with every line, and a line of kind `refresh` for each new table: the step whose weights made it (`version`),
 * the step at which it came in, how long it took.
 *
 * Cost per step: B positives and up to B k negatives embedded, 2 B N D operations of scoring; and, beside training, N documents
 * every n steps, for which the cores are shared. Memory: N rows of D numbers; in the other process the encoder and 16,384 rows.
 *
 * Differs from the paper's code: ranks are those of the query as it is embedded now, not when the index was built, so that only
 * documents are stale; every query can be drawn at any step, not a fifth of them per index; all known right answers are left out, not
 * one; search is exact; which version made a negative is known and logged.
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
