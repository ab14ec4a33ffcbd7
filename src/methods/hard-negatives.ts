import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { type GivenValues, optionValues, withDefaults } from '../util/option-table.ts';
import type { Method } from './contract/method.ts';
import { describeMining } from './mined/describe-mining.ts';
import { MinedMethod } from './mined/mined-method.ts';
import type { Miner } from './mined/mined-negatives.ts';
import { MINED_OPTIONS, MINER_OPTIONS } from './mined/mining-options.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';

const OPTIONS = {
  ...withDefaults(MINED_OPTIONS, { rankFrom: 10, rankTo: 100, relativeMargin: 0.05 }),
  ...MINER_OPTIONS,
  ...BM25_OPTIONS,
  ...MATRYOSHKA_OPTIONS,
};

const minerOf = (options: GivenValues): Miner => ({
  from: optionValues(MINER_OPTIONS, options).mineFrom,
  lexical: optionValues(BM25_OPTIONS, options),
});

/**
 * Hard negatives: besides the batch's positives, each query adds documents that an encoder ranks high for it but that are not
 * right answers.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over B positives and up to B h mined documents
 *
 * `mineFrom` names the ranker: the model that training starts from (`self`), another model, or `bm25` or `tfidf`
 * with their options. Every `mineEvery` updates,
 * training waits while the current weights mine again. The documents of the highest ranks are mostly right answers that nobody
 * has marked. Two rules leave them out: ranks before `rankFrom` are skipped, and so are documents that score more than 1 −
 * `relativeMargin` times as high as the query's lowest positive. A new model cannot rank yet: mine from `bm25`, or again after
 * some steps. Where queries have many positives, the lowest one scores so low that the margin leaves few negatives. A note says
 * so; `relativeMargin` 0 turns the margin off.
 *
 * Cost per step: B queries, B positives and up to B h negatives embedded, all fresh. Each mining embeds N documents and all
 * training queries, and takes 2 Q N D operations of scoring. Memory: 4 bytes for each mined negative; during mining, N rows of D
 * numbers.
 *
 * Differs from the paper: training waits for the index instead of going on with the old one (`async-index` does that), the loss
 * is over the batch instead of one negative, and margins keep unmarked right answers out (NV-Retriever, arXiv:2407.15831).
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
    const { mineEvery } = optionValues(OPTIONS, plan.options);
    return describeMining(plan, { ...minerOf(plan.options), every: mineEvery });
  },
  start: (context) =>
    MinedMethod.start('hard-negatives', context, {
      ...optionValues(OPTIONS, context.options),
      miner: minerOf(context.options),
    }),
};
