import { gatherElements, range, squeeze, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { expectation } from '../losses/expectation.ts';
import { importanceCorrected } from '../losses/importance-corrected.ts';
import type { NegativeScores } from '../losses/negative-scores.ts';
import { pairwise } from '../losses/pairwise.ts';
import { truncatedSoftmax } from '../losses/truncated-softmax.ts';
import type { ScoreLoss } from './contrastive-step.ts';
import type { LossForm } from './method-options.ts';

/**
 * Losses over negatives that were sampled from a score table, as functions of the fresh scores f32[queries, documents] of a
 * step: its first B documents are the positives, and query i's own k negatives are the columns that are fed for it.
 *
 * Inputs that are fed to a step, all from `TableMethod`:
 *
 * | input | shape | |
 * |---|---|---|
 * | `negatives` | i64[queries, k] | columns of each query's negatives |
 * | `drawn` | bool[queries, k] | which of them there are |
 * | `logPartition` | f32[queries] | log Z of the table, right answers left out |
 * | `tableScores` | f32[queries, k] | scores of the negatives in the table |
 * | `allowed` | bool[queries, documents] | documents that are no right answer to a query |
 */
export const tableLosses: Readonly<Record<LossForm, ScoreLoss>> = {
  expectation: (scores) => expectation(ownNegatives(scores), logPartition(scores)),

  'importance-corrected': (scores) => {
    const { trainingLoss, effectiveSampleSize } = importanceCorrected(ownNegatives(scores), {
      scores: scores.graph.input('tableScores', 'f32', ['queries', 'k']),
      logPartition: logPartition(scores),
    });
    return { trainingLoss, metrics: { effectiveSampleSize } };
  },

  truncated: (scores) => {
    const allowed = scores.graph.input('allowed', 'bool', ['queries', 'documents']);
    return { trainingLoss: truncatedSoftmax(scores, range(scores.graph, 'queries'), { allowed }) };
  },

  pairwise: (scores) => ({ trainingLoss: pairwise(ownNegatives(scores)) }),
};

const logPartition = (scores: Tensor): Tensor => scores.graph.input('logPartition', 'f32', ['queries']);

function ownNegatives(scores: Tensor): NegativeScores {
  const { graph } = scores;
  const columns = graph.input('negatives', 'i64', ['queries', 'k']);
  const own = unsqueeze(range(graph, 'queries'), 1);
  return {
    positive: squeeze(gatherElements(scores, own, { axis: 1 }), 1),
    negatives: gatherElements(scores, columns, { axis: 1 }),
    allowed: graph.input('drawn', 'bool', ['queries', 'k']),
  };
}
