import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { TABLE_OPTIONS } from './table/table-options.ts';

/**
 * Exhaustive re-embedding: negatives are sampled from the softmax over the whole corpus, all of which is embedded again every n
 * steps. It is the reference for the other methods: with n = 1 nothing is ever stale, and no method costs more.
 *
 * Cost per step: N / n documents, B positives, up to B k negatives, 2 B N D operations of scoring. Memory: N rows of D numbers.
 */
export const exhaustive: Method = {
  id: 'exhaustive',
  aliases: ['full-refresh'],
  summary: 'negatives sampled from the softmax over the whole corpus, embedded again every n steps',
  paper: {
    title: 'Improving Dual-Encoder Training through Dynamic Indexes for Negative Mining',
    year: 2023,
    url: 'https://proceedings.mlr.press/v206/monath23a.html',
  },
  options: withDefaults(TABLE_OPTIONS, { refresh: 'every:100' }),
  losses: LOSS_FORMS,
  check: checkTablePlan,
  describe: describeTable,
  start: (context) => TableMethod.start('exhaustive', context),
};
