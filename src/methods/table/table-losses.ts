import { range } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { expectation } from '../../losses/expectation.ts';
import { importanceCorrected } from '../../losses/importance-corrected.ts';
import { pairwise } from '../../losses/pairwise.ts';
import { truncatedSoftmax } from '../../losses/truncated-softmax.ts';
import type { LossForm } from '../contract/loss-names.ts';
import { ownNegatives } from '../step/own-negatives.ts';
import type { ScoredBatch, ScoreLoss } from '../step/score-loss.ts';

/**
 * Losses over negatives that were sampled from a score table. Each is a function of the fresh scores f32[queries, documents] of a
 * step. The first B documents are the positives; the columns of query i's own k negatives are fed.
 *
 * A step must feed these inputs, which `TableMethod` computes:
 *
 * | input | shape | |
 * |---|---|---|
 * | `negatives` | i64[queries, k] | columns of each query's negatives |
 * | `drawn` | bool[queries, k] | false where fewer than k were drawn |
 * | `logPartition` | f32[queries] | log Z of the table, right answers left out |
 * | `tableScores` | f32[queries, k] | scores of the negatives in the table |
 * | `allowed` | bool[queries, documents] | documents that are not right answers to a query |
 */
export const tableLosses: Readonly<Record<LossForm, ScoreLoss>> = {
  expectation: (batch) => expectation(ownNegatives(batch), logPartition(batch)),

  'importance-corrected': (batch) => {
    const { trainingLoss, effectiveSampleSize } = importanceCorrected(ownNegatives(batch), {
      scores: batch.input('tableScores', 'f32', ['queries', 'k']),
      logPartition: logPartition(batch),
    });
    return { trainingLoss, metrics: { effectiveSampleSize } };
  },

  truncated: (batch) => {
    const { scores } = batch;
    const allowed = batch.input('allowed', 'bool', ['queries', 'documents']);
    return { trainingLoss: truncatedSoftmax(scores, range(scores.graph, 'queries'), { allowed }) };
  },

  pairwise: (batch) => ({ trainingLoss: pairwise(ownNegatives(batch)) }),
};

const logPartition = ({ input }: ScoredBatch): Tensor => input('logPartition', 'f32', ['queries']);
