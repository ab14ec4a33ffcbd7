import { div, maximum, neg, stopGradient, sum } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { candidateMarginal, type Marginal, posteriorDivergence } from '../../losses/candidate-marginal.ts';
import type { LossParts } from '../step/score-loss.ts';
import { divergenceParts } from '../table/reader-loss.ts';
import type { AnswerTokens } from './answer-tokens.ts';
import type { JointBatch } from './joint-form.ts';

/** Ways in which the reader of Atlas teaches the retriever. */
export const RETRIEVER_LOSSES = ['pdist', 'adist', 'emdr2', 'loop'] as const;
/** Way in which the reader of Atlas teaches the retriever. */
export type RetrieverLoss = (typeof RETRIEVER_LOSSES)[number];

/**
 * Builds the loss of the retriever of Atlas. The reader gets no gradient from it.
 *
 * @param batch  readings of each candidate alone for `pdist` and `emdr2`, without each for `loop`, and the attention for `adist`
 */
export function retrieverParts(
  retrieverLoss: RetrieverLoss,
  { scores, drawn, answers, attention }: JointBatch,
  { readerTemperature, marginal }: { readerTemperature: number; marginal: Marginal },
): LossParts {
  if (retrieverLoss === 'emdr2') {
    const tokens = stopGradient(answers.alone.logProbabilities);
    const found = candidateMarginal(scores, tokens, { allowed: drawn, marginal });
    return { trainingLoss: found.loss, metrics: { posteriorDivergence: posteriorDivergence(found) } };
  }
  const teacher = {
    pdist: () => meanPerToken(answers.alone),
    adist: () => attention!,
    loop: () => neg(meanPerToken(answers.without)),
  }[retrieverLoss];
  return divergenceParts(
    { candidates: scores, allowed: drawn, teacher: stopGradient(teacher()) },
    { temperature: readerTemperature, direction: 'forward' },
  );
}

/** Computes the mean log-probability of the tokens of an answer for each prompt, f32[queries, prompts]; 0 where there is no prompt. */
const meanPerToken = ({ logProbabilities, scored }: AnswerTokens): Tensor =>
  div(sum(logProbabilities, { axes: 2 }), maximum(sum(scored, { axes: 2 }), 1));
