import { withDefaults } from '../util/option-table.ts';
import { LOSS_FORMS } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { checkTablePlan } from './table/check-table-plan.ts';
import { describeTable } from './table/describe-table.ts';
import { TableMethod } from './table/table-method.ts';
import { CORRECTOR_OPTIONS, TABLE_OPTIONS } from './table/table-options.ts';

/**
 * Corrector networks: the corpus is embedded once, before the first step. A small network then moves the stale embeddings to
 * where the current encoder would put them.
 *
 *   j_i ~ softmax( q_i·h(b_n; Ψ) / τ ) over the corpus       b: embedded once; right answers of i left out
 *   L_Θ = (1/B) Σ_i −log p̂⁺_i                                on fresh embeddings (`src/losses/importance-corrected.ts`)
 *   L_Ψ = mean ‖h(b_y) − g(y)‖² + KL( softmax(q·g / τ) ‖ softmax(q·h(b) / τ) )        y: documents that the step has embedded
 *
 * L_Ψ sends no gradient to the encoders. Where `corrector` is a closed form, Ψ is fitted anew every `refitEvery` steps instead.
 * Refresh policies can be combined with it. With `write-back`, give `correctorAge` too, because rows are then of many ages.
 *
 * Cost per step: `teachingSamples` documents embedded without a gradient, B positives, up to B k negatives; correction of all N
 * rows (4 N D H operations for an `mlp` of width H), or of `correctedRows`; 2 B N D operations of scoring. Memory: 2 N rows of D
 * numbers. With `search: 'index'`, correction of about 2,048 rows, scoring of a multiple of B √N, and N rows of memory.
 *
 * The paper's own code is not public. Where the paper is not explicit, the form of Ψ and of L_Ψ is ours, and so is the choice of
 * the importance-corrected loss. See docs/correctors.md.
 */
export const corrector: Method = {
  id: 'corrector',
  aliases: ['corrector-network', 'monath'],
  summary: 'negatives sampled from a corpus embedded once, whose embeddings a small network keeps current',
  paper: {
    title: 'A Fresh Take on Stale Embeddings: Improving Dense Retriever Training with Corrector Networks',
    year: 2024,
    url: 'https://proceedings.mlr.press/v235/monath24a.html',
  },
  options: { ...withDefaults(TABLE_OPTIONS, { loss: 'importance-corrected' }), ...CORRECTOR_OPTIONS },
  losses: LOSS_FORMS,
  check: checkTablePlan,
  describe: describeTable,
  start: (context) => TableMethod.start('corrector', context),
};
