import { range } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { expectation } from '../../losses/expectation.ts';
import { importanceCorrected } from '../../losses/importance-corrected.ts';
import { pairwise } from '../../losses/pairwise.ts';
import { truncatedSoftmax } from '../../losses/truncated-softmax.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { LossForm } from '../contract/loss-names.ts';
import type { HeldOutMeasure, MethodContext, TrainingBatch } from '../contract/method.ts';
import { allowedCandidates } from '../step/known-positives.ts';
import { type OwnColumns, ownNegatives } from '../step/own-negatives.ts';
import type { ScoredBatch, ScoreLoss } from '../step/score-loss.ts';
import type { ChosenDocuments } from './table-choice.ts';

/** Documents of a step over a table: those that were chosen from it, and where each query's own stand among the embedded ones. */
export interface TableDocuments extends OwnColumns {
  readonly chosen: ChosenDocuments;
  /** i32[B, k]: document rows that were chosen for each query; `NONE` where there are fewer. */
  readonly rows: Int32Array;
}

/** Loss over documents that a table has chosen for each query, and what a step feeds it. */
export interface TableLoss {
  /** Documents that the data gives for a batch, which are embedded first and whatever is chosen. */
  readonly given: 'positives' | 'none';
  /** Whether documents of the data that are right answers to a query are never chosen for it. */
  readonly masksRightAnswers: boolean;
  /**
   * Whether the null passage is embedded too, a document of empty text that stands for reading nothing. Its column comes after those of
   * the documents. It is in no table. Default false.
   */
  readonly nullPassage?: boolean | undefined;
  /** Purpose under which the ledger counts the chosen documents: `negative`, `candidate`. */
  readonly purpose: string;
  /** Builds the loss in the graph of a step. */
  readonly loss: ScoreLoss;
  /** Computes the inputs that the loss has declared. */
  inputs(
    batch: TrainingBatch,
    documents: TableDocuments,
    draw: number,
  ): Readonly<Record<string, HostTensor>> | Promise<Readonly<Record<string, HostTensor>>>;
  /** Measurement on queries that are not trained on. */
  readonly heldOut?: HeldOutMeasure | undefined;
  /** Called after the last update of the run. */
  finished?(): void;
  /** Called with the figures of a step. */
  observe?(metrics: Readonly<Record<string, number>>): void;
  /** Returns state for a checkpoint, by name. Default none. */
  state?(): Readonly<Record<string, HostTensor>>;
  /** Restores the state of a checkpoint; ignores other tensors. */
  restore?(state: Readonly<Record<string, HostTensor>>): void;
  /** Frees what the loss has loaded. */
  dispose?(): Promise<void>;
}

/**
 * Losses over negatives that were sampled from a score table. Each is a function of the fresh scores f32[queries, documents] of a
 * step. The first B documents are the positives; the columns of query i's own k negatives are fed.
 *
 * | input | shape | |
 * |---|---|---|
 * | `negatives` | i64[queries, k] | columns of each query's negatives |
 * | `drawn` | bool[queries, k] | false where fewer than k were drawn |
 * | `logPartition` | f32[queries] | log Z of the table, right answers left out |
 * | `tableScores` | f32[queries, k] | scores of the negatives in the table |
 * | `allowed` | bool[queries, documents] | documents that are not right answers to a query |
 */
const scoreLosses: Readonly<Record<LossForm, ScoreLoss>> = {
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

/** Makes a loss over a positive and sampled negatives of each query. */
export const negativeLoss = (
  name: LossForm,
  { positives, copies: duplicates }: Pick<MethodContext, 'positives' | 'copies'>,
): TableLoss => ({
  given: 'positives',
  masksRightAnswers: true,
  purpose: 'negative',
  loss: scoreLosses[name],
  inputs({ queryRows }, { documentRows, columns, drawn, chosen }) {
    const [B, k] = [queryRows.length, chosen.k];
    const f32 = (dims: number[], data: Float32Array) =>
      hostTensor('f32', dims, data as Float32Array<ArrayBuffer>);
    return {
      negatives: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      tableScores: f32([B, k], chosen.scores),
      ...(chosen.logPartition && { logPartition: f32([B], chosen.logPartition) }),
      ...(name === 'truncated' && {
        allowed: allowedCandidates(queryRows, documentRows, { positives, duplicates }),
      }),
    };
  },
});
