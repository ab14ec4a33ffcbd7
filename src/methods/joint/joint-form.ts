import type { Tensor } from '../../graph/tensor.ts';
import type { Marginal } from '../../losses/candidate-marginal.ts';
import type { LossParts } from '../step/score-loss.ts';
import type { AnswerTokens } from './answer-tokens.ts';

/**
 * Ways in which a reader reads the candidates of a query: each one in a prompt of its own, all in one prompt, or all but one in a prompt
 * for each.
 */
export type JointReading = 'alone' | 'together' | 'without';

/** Query of a batch with its answer and the candidates that its prompts are made of. */
export interface AskedQuery {
  readonly query: string;
  readonly answer: string;
  /** Candidates in their places, the same number for each query: a text, `null` for the null passage, undefined where there is none. */
  readonly candidates: readonly (string | null | undefined)[];
}

/** Prompts of one way of reading: for each query, the places of the candidates in each prompt; undefined where there is no prompt. */
export type PromptPlaces = readonly (readonly (readonly number[] | undefined)[])[];

/** Results of a reader for a batch. */
export interface ReadAnswers {
  /** Answers as read in each way that the method asks for: [queries, k, J], or [queries, 1, J] for `together`. */
  readonly answers: Readonly<Record<JointReading, AnswerTokens>>;
  /** Attention of the answer to each candidate that is read together, f32[queries, k]; absent where the method does not ask for it. */
  readonly attention?: Tensor | undefined;
}

/** Batch as the loss of a joint method sees it. */
export interface JointBatch extends ReadAnswers {
  /** f32[queries, k]: scores of the candidates, divided by the temperature. */
  readonly scores: Tensor;
  /** bool[queries, k]: candidates that there are. */
  readonly drawn: Tensor;
}

/** Ways in which a joint method reads the candidates of a query. */
export interface JointReadings {
  /** Whether reading nothing is a candidate too, the last one. */
  readonly nullPassage: boolean;
  /** Ways of reading that the loss needs. */
  readonly readings: readonly JointReading[];
  /** Way of reading that the reader learns from. */
  readonly learnt: JointReading;
  /** Documents from the table that are candidates of a query, K. */
  readonly candidates: number;
  /** Largest number of documents in a prompt with several. */
  readonly passages: number;
  /** Sum over the candidates by which answers are learnt; absent where the reader reads them together. */
  readonly marginal?: Marginal | undefined;
}

/** Facts that tell the joint methods apart. */
export interface JointForm extends JointReadings {
  /** Whether the loss needs the attention to each candidate, of the reading `together`. Default false. */
  readonly attention?: boolean | undefined;
  /** Builds the loss. */
  loss(batch: JointBatch): LossParts;
  /** Called after the last update. */
  finished?(): void;
}
