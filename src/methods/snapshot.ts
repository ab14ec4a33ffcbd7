import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { SNAPSHOT_OPTIONS, TABLE_OPTIONS } from './table/table-options.ts';

/**
 * Stochastic negative mining: negatives are sampled from the softmax over a random part of the corpus. This snapshot is drawn and
 * embedded anew every n steps, and stale in between.
 *
 * Cost per step: M / n documents for the snapshot of M, B positives, up to B k negatives. Memory: M rows of D numbers.
 *
 * Implemented as the paper below describes it for comparison; named after Reddi et al., "Stochastic Negative Mining for Learning
 * with Large Output Spaces", AISTATS 2019.
 */
export const snapshot: Method = {
  id: 'snapshot',
  aliases: ['stochastic-negative-mining', 'snm'],
  summary: 'negatives sampled from a random part of the corpus, drawn and embedded anew every n steps',
  paper: {
    title: 'Improving Dual-Encoder Training through Dynamic Indexes for Negative Mining',
    year: 2023,
    url: 'https://proceedings.mlr.press/v206/monath23a.html',
  },
  options: {
    ...withDefaults(TABLE_OPTIONS, { loss: 'truncated', samples: 4, cacheSize: 2048 }),
    ...SNAPSHOT_OPTIONS,
  },
  losses: LOSS_FORMS,
  check: checkTablePlan,
  describe: describeTable,
  start: (context) => TableMethod.start('snapshot', context),
};
