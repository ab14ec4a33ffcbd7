import { and, equal, not, range, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { defineObjective } from '../../objective/objective.ts';
import { batchDocuments, describeEncodes, inBatchNegatives } from '../contract/describe-run.ts';
import type { Method, MethodContext, RunningMethod } from '../contract/method.ts';
import type { BatchLoss } from './batch-loss.ts';
import { allowedInput } from './candidate-softmax.ts';
import { ContrastiveStep } from './contrastive-step.ts';
import { allowedCandidates } from './known-positives.ts';
import { ownPositives } from './own-negatives.ts';
import { type LossParts, MATRYOSHKA_OPTIONS, type ScoredBatch } from './score-loss.ts';

/** Batch as a loss sees it: B queries and C documents, of which the first B are the queries' positives. */
export interface MaskedBatch extends ScoredBatch {
  /** f32[queries]: the score of each query's positive. */
  readonly positives: Tensor;
  /**
   * bool[queries, documents]: whether document j is a negative of query i. Excluded are the query's positive, its other known
   * right answers, and documents with the text of one.
   */
  readonly negatives: Tensor;
}

/** Specification of a training method by its loss over the documents of a batch. */
export interface BatchMethodSpec
  extends Pick<Method, 'id' | 'summary'>,
    Partial<Pick<Method, 'paper' | 'aliases'>> {
  /**
   * Builds the loss in the graph of a training step. The first B documents of the batch are the positives in the queries' order;
   * negatives of the data follow. Gradients reach both encoders.
   */
  readonly loss: (batch: MaskedBatch) => LossParts;
}

/**
 * Makes a training method of a loss over the documents of a batch. `trainRetriever({ method })` takes it like any other, with
 * `matryoshka`, `accumulate`, LoRA and checkpoints.
 *
 * @example
 * const method = batchMethod({
 *   id: 'squared-hinge',
 *   summary: 'squared hinge of the scores',
 *   loss({ scores, positives, negatives }) {
 *     const violations = ops.relu(ops.add(ops.sub(scores, ops.unsqueeze(positives, 1)), 0.2));
 *     const counted = ops.where(negatives, violations, 0);
 *     return { trainingLoss: ops.mean(ops.sum(ops.mul(counted, counted), { axes: 1 })) };
 *   },
 * });
 */
export const batchMethod = ({ loss, ...spec }: BatchMethodSpec): Method => ({
  aliases: [],
  ...spec,
  options: MATRYOSHKA_OPTIONS,
  describe: describeBatch,
  start(context) {
    const known = { positives: context.positives, duplicates: context.copies };
    return startBatchLoss(spec.id, context, {
      loss: (batch) => loss(masked(batch)),
      inputs: async ({ queryRows }, documentRows) => ({
        allowed: allowedCandidates(queryRows, documentRows, known),
      }),
      state: () => ({}),
      restore: () => {},
      dispose: async () => {},
    });
  },
});

function masked(batch: ScoredBatch): MaskedBatch {
  const { scores } = batch;
  const [own, columns] = scores.shape.map((dim) => range(scores.graph, dim)) as [Tensor, Tensor];
  const isOwn = equal(unsqueeze(own, 1), columns);
  return { ...batch, positives: ownPositives(scores), negatives: and(allowedInput(batch), not(isOwn)) };
}

/** Describes a run whose negatives are the documents of its batches. */
export const describeBatch: Method['describe'] = (plan) => [
  inBatchNegatives(plan),
  describeEncodes(plan, { perBatch: batchDocuments(plan) }),
];

/**
 * Starts a method that applies a loss to the documents of each batch.
 *
 * @param id  id of the method
 */
export async function startBatchLoss(
  id: string,
  context: MethodContext,
  loss: BatchLoss,
): Promise<RunningMethod> {
  const step = await ContrastiveStep.compile(id, context, loss.loss);
  return defineObjective({
    async step(batch, draw) {
      const { queryRows, positiveRows, negativeRows, tokens } = batch;
      const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
      context.ledger.documents('positive', positiveRows.length);
      context.ledger.documents('negative', negativeRows.length);
      const inputs = await loss.inputs(batch, documentRows);
      return await step.run({ queryRows, documentRows, tokens, inputs, draw });
    },
    state: () => loss.state(),
    restore: async (state) => loss.restore(state),
    async dispose() {
      await step.dispose();
      await loss.dispose();
    },
  });
}
