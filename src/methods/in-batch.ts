import { duplicateMap } from '../cache/masks.ts';
import { candidateSoftmax } from './candidate-softmax.ts';
import { ContrastiveStep } from './contrastive-step.ts';
import { batchDocuments, describeEncodes, inBatchNegatives } from './describe-run.ts';
import { allowedCandidates } from './known-positives.ts';
import { type Method, type MethodContext, type RunningMethod, stateless } from './method.ts';

/**
 * In-batch negatives: every other query's positive in the batch is a negative, and so are the negatives that the data gives.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over the batch's B + K documents
 *
 * A document that is a known positive of query i, or has the text of one, is not its negative: it is left out of i's sum.
 *
 * Cost per step: B + K document encodes, all fresh. Memory: activations of the whole batch. The quality of the negatives is
 * bounded by the batch size, which is what the caches of the other methods are for.
 */
export const inBatch: Method = {
  id: 'in-batch',
  aliases: ['MultipleNegativesRankingLoss', 'dpr', 'info-nce'],
  summary: 'softmax cross-entropy over the documents of the batch',
  paper: {
    title: 'Dense Passage Retrieval for Open-Domain Question Answering',
    year: 2020,
    url: 'https://arxiv.org/abs/2004.04906',
  },
  options: {},
  describe: (plan) => [inBatchNegatives(plan), describeEncodes(plan, { perBatch: batchDocuments(plan) })],
  start: async (context) =>
    running(context, await ContrastiveStep.compile('in-batch', context, candidateSoftmax)),
};

function running(context: MethodContext, step: ContrastiveStep): RunningMethod {
  const known = { positives: context.positives, duplicates: duplicateMap(context.documents) };
  return stateless({
    async step({ queryRows, positiveRows, negativeRows, tokens }, draw) {
      const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
      const allowed = allowedCandidates(queryRows, documentRows, known);
      context.ledger.documents('positive', positiveRows.length);
      context.ledger.documents('negative', negativeRows.length);
      return await step.run({ queryRows, documentRows, tokens, inputs: { allowed }, draw });
    },
    dispose: () => step.dispose(),
  });
}
