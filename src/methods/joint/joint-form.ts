import type { Tensor } from '../../graph/tensor.ts';
import type { LossParts } from '../step/score-loss.ts';
import type { AnswerTokens } from './answer-tokens.ts';

/**
 * Ways in which a reader reads the candidates of a query: each one in a prompt of its own, all in one prompt, or all but one in a prompt
 * for each.
 */
export type JointReading = 'alone' | 'together' | 'without';

/** Batch as the loss of a joint method sees it. */
export interface JointBatch {
  /** f32[queries, k]: scores of the candidates, divided by the temperature. */
  readonly scores: Tensor;
  /** bool[queries, k]: candidates that there are. */
  readonly drawn: Tensor;
  /** Answers as read in each way that the method asks for: [queries, k, J], or [queries, 1, J] for `together`. */
  readonly answers: Readonly<Record<JointReading, AnswerTokens>>;
}

/** Facts that tell the joint methods apart. */
export interface JointForm {
  /** Whether reading nothing is a candidate too, the last one. */
  readonly nullPassage: boolean;
  /** Ways of reading that the loss needs. */
  readonly readings: readonly JointReading[];
  /** Documents from the table that are candidates of a query, K. */
  readonly candidates: number;
  /** Largest number of documents in a prompt with several. */
  readonly passages: number;
  /** Builds the loss. */
  loss(batch: JointBatch): LossParts;
  /** Called after the last update. */
  finished?(): void;
}
