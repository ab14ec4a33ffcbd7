import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { type GivenValues, optionValues, withDefaults } from '../util/option-table.ts';
import type { Method } from './contract/method.ts';
import { describeMining } from './mined/describe-mining.ts';
import { MinedMethod } from './mined/mined-method.ts';
import type { Miner } from './mined/mined-negatives.ts';
import { MINED_OPTIONS } from './mined/mining-options.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';

const OPTIONS = { ...withDefaults(MINED_OPTIONS, { rankTo: 50 }), ...BM25_OPTIONS, ...MATRYOSHKA_OPTIONS };

const minerOf = (options: GivenValues): Miner => ({
  from: 'bm25',
  lexical: optionValues(BM25_OPTIONS, options),
});

/**
 * BM25 negatives: besides the batch's positives, each query adds documents that share its words but are not right answers.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over B positives and up to B h mined documents
 *
 * Negatives are mined once, before the first step. Every batch draws h of each query's mined documents anew, uniformly from the
 * ranks `rankFrom` … `rankTo` − 1. A query that shares words with too few documents gets fewer. Known positives, and documents
 * with the same text as one of them, are neither mined nor candidates.
 *
 * Cost per step: B queries, B positives and up to B h negatives embedded, all fresh. BM25 embeds nothing for mining. Memory: 4
 * bytes for each mined negative, and 8 for each pair of term and document during mining.
 *
 * Differs from the paper, which always takes the one best document without the answer string. Scores are cosines divided by τ
 * unless `--no-normalize` is given.
 */
export const bm25Negatives: Method = {
  id: 'bm25-negatives',
  aliases: ['dpr-bm25', 'bm25-hard-negatives'],
  summary: 'in-batch negatives and documents that BM25 ranks high for each query',
  paper: {
    title: 'Dense Passage Retrieval for Open-Domain Question Answering',
    year: 2020,
    url: 'https://arxiv.org/abs/2004.04906',
  },
  options: OPTIONS,
  describe: (plan) => describeMining(plan, { ...minerOf(plan.options), every: 0 }),
  start: (context) =>
    MinedMethod.start('bm25-negatives', context, {
      ...optionValues(OPTIONS, context.options),
      miner: minerOf(context.options),
      mineEvery: 0,
    }),
};
