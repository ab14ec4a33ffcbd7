/**
 * Losses as functions of symbolic tensors, to be minimised in a graph of `undrift/graph`. Loads no native code.
 *
 *     import { softmaxCrossEntropy } from 'undrift/losses';
 *
 * @module undrift/losses
 */
export { angle, angleSimilarity } from './losses/angle.ts';
export {
  type CandidateMarginal,
  candidateMarginal,
  MARGINALS,
  type Marginal,
  posteriorDivergence,
} from './losses/candidate-marginal.ts';
export { cosent } from './losses/cosent.ts';
export { cosineSimilarity } from './losses/cosine-similarity.ts';
export { cosines, distances, pairCosines } from './losses/distances.ts';
export { expectation } from './losses/expectation.ts';
export { type BatchSimilarities, gist } from './losses/gist.ts';
export { importanceCorrected } from './losses/importance-corrected.ts';
export { klDistillation } from './losses/kl-distillation.ts';
export { type GradedCandidates, lambdaRank } from './losses/lambda-rank.ts';
export { marginMse } from './losses/margin-mse.ts';
export { marginalLikelihood } from './losses/marginal-likelihood.ts';
export { type MatryoshkaSize, matryoshka } from './losses/matryoshka.ts';
export {
  type MemorySoftmaxOptions,
  memorySoftmaxLoss,
  type TokenMemoryInputs,
} from './losses/memory-softmax.ts';
export { type MultiPositiveTargets, multiPositiveSoftmax } from './losses/multi-positive-softmax.ts';
export type { NegativeScores } from './losses/negative-scores.ts';
export {
  hiddenNextTokenLoss,
  hiddenTokenLogProbabilities,
  type NextTokenLossOptions,
  nextTokenLogProbabilities,
  nextTokenLoss,
  tokenLogProbabilities,
} from './losses/next-token.ts';
export { pairwise } from './losses/pairwise.ts';
export {
  type PhraseLoss,
  type PhraseLossOptions,
  type PhraseStates,
  type PhraseTargets,
  phraseLoss,
} from './losses/phrase-loss.ts';
export { softmaxCrossEntropy } from './losses/softmax-cross-entropy.ts';
export { symmetricSoftmax } from './losses/symmetric-softmax.ts';
export { KL_DIRECTIONS, type KlDirection, teacherDivergence } from './losses/teacher-divergence.ts';
export { triplet } from './losses/triplet.ts';
export { truncatedSoftmax } from './losses/truncated-softmax.ts';
