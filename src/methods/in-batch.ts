import { BATCH_LOSSES } from './contract/loss-names.ts';
import type { Method } from './contract/method.ts';
import { BATCH_LOSS_OPTIONS, batchLoss, checkBatchLoss } from './step/batch-loss.ts';
import { describeBatch, startBatchLoss } from './step/batch-method.ts';

/**
 * In-batch negatives: every other query's positive in the batch is a negative, and so are the negatives that the data gives.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ allowed(i)} exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over the batch's B + K documents
 *
 * A document that is a known positive of query i, or has the text of one, is not a negative of i: it is left out of the sum.
 * `--loss` selects other losses over the same documents (docs/losses.md): `symmetric` is the mean of both directions; `triplet`
 * compares distances by a margin; `gist` leaves out documents that a guide (`--guide`) finds as similar as the positive. With
 * `--matryoshka` each loss is the sum over several sizes of the embeddings.
 *
 * Cost per step: B + K document encodes, all fresh; with a guide, one more encode of each training text. Memory: activations of
 * the whole batch. The batch size limits the quality of the negatives; the caches of other methods lift that limit.
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
  options: BATCH_LOSS_OPTIONS,
  losses: BATCH_LOSSES,
  check: ({ options }) => checkBatchLoss(options),
  describe: describeBatch,
  start: async (context) => await startBatchLoss('in-batch', context, await batchLoss(context)),
};
