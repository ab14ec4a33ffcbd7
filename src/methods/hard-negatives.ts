import { optionValues, withDefaults } from '../util/option-table.ts';
import type { Method } from './contract/method.ts';
import { describeMining } from './mined/describe-mining.ts';
import { MinedMethod } from './mined/mined-method.ts';
import { MINED_OPTIONS, MINER_OPTIONS } from './mined/mining-options.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';

const OPTIONS = {
  ...withDefaults(MINED_OPTIONS, { rankFrom: 10, rankTo: 100, relativeMargin: 0.05 }),
  ...MINER_OPTIONS,
  ...MATRYOSHKA_OPTIONS,
};

/**
 * Hard negatives: beside the batch's positives, each query brings documents that an encoder ranks high for it although they
 * are no right answers.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over B positives and up to B h mined documents
 *
 * Who ranks is `mineFrom`: the model that training starts from (`self`), another one, or `bm25`. Every `mineEvery` updates
 * the weights as they then are mine again, while training waits. What is highest of all is mostly a right answer that nobody
 * has marked: ranks before `rankFrom` are left out, and what comes nearer to the query's lowest positive than a share
 * `relativeMargin` of its score. A new model has nothing to rank by yet: mine from `bm25`, or again after some steps. Where
 * queries have many positives, the lowest one is so low that the margin leaves little: a note says so, and 0 turns it off.
 *
 * Cost per step: B queries, B positives and up to B h negatives embedded, all fresh. Each mining: N documents and all training
 * queries embedded, 2 Q N D operations of scoring. Memory: 4 bytes for each mined negative; while it mines N rows of D numbers.
 *
 * Differs from the paper: training waits for the index instead of going on with the old one (that is `async-index`), the loss is
 * over the batch instead of one negative, and margins keep unmarked right answers out (NV-Retriever, arXiv:2407.15831).
 */
export const hardNegatives: Method = {
  id: 'hard-negatives',
  aliases: ['mined-negatives', 'hard-negative-mining'],
  summary:
    'in-batch negatives and documents that an encoder ranks high for each query, mined once or every n steps',
  paper: {
    title: 'Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval',
    year: 2021,
    url: 'https://arxiv.org/abs/2007.00808',
  },
  options: OPTIONS,
  describe(plan) {
    const { mineFrom, mineEvery } = optionValues(OPTIONS, plan.options);
    return describeMining(plan, { from: mineFrom, every: mineEvery });
  },
  start: (context) => MinedMethod.start('hard-negatives', context, optionValues(OPTIONS, context.options)),
};
