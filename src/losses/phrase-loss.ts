import { add, matmul, stopGradient } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { multiPositiveSoftmax } from './multi-positive-softmax.ts';

/** States of masked spans and of the tokens in which their phrases are looked for. */
export interface PhraseStates {
  /** f32[S, D]: state of the first mask of each span, the query for the beginning of the phrase. */
  readonly starts: Tensor;
  /** f32[S, D]: state of the second mask of each span, the query for the end of the phrase. */
  readonly ends: Tensor;
  /** f32[K, D]: states of the tokens of the texts without masks. */
  readonly keys: Tensor;
}

/** Tokens that a span may find, and the right ones. */
export interface PhraseTargets {
  /** bool[S, K]: tokens that take part: those of other sequences. */
  readonly allowed: Tensor;
  /** bool[S, K]: first tokens of the occurrences of the phrase. */
  readonly startsHere: Tensor;
  /** bool[S, K]: last tokens of the occurrences of the phrase. */
  readonly endsHere: Tensor;
}

/** Options of {@link phraseLoss}. */
export interface PhraseLossOptions {
  /** Temperature τ of the softmaxes, > 0. Default 1. */
  readonly temperature?: number | undefined;
  /** Whether the keys get no gradient. Default false: they are trained to be found. */
  readonly detached?: boolean | undefined;
}

/** Loss of {@link phraseLoss}, and the scores that it is made from. */
export interface PhraseLoss {
  /** f32[]: loss, in nats per span, of both ends together. */
  readonly loss: Tensor;
  /** f32[S, K]: scores of the tokens as the beginning of each phrase. */
  readonly startScores: Tensor;
  /** f32[S, K]: scores of the tokens as its end. */
  readonly endScores: Tensor;
}

/**
 * Loss of the nonparametric masked language model (NPM): the phrase behind two masks is found among the tokens of other sequences by its
 * beginning and its end.
 *
 *     L = mean_v [ −log Σ_{j: v starts at j} P_start(j) − log Σ_{j: v ends at j} P_end(j) ],   P(j) ∝ exp(q · k_j / (√D τ))
 *
 * A span whose phrase occurs nowhere among the allowed tokens is skipped.
 *
 * An encoder that ends in a layer normalisation bounds the scores: with gains of about γ, states are at most γ √D long, and scores at most
 * γ² √D / τ. For MiniLM (γ = 0.65, D = 384) that is 8.4 at τ = 1: one right token among 4,400 with a score of 0 gets a probability of ½ at most.
 *
 * Gradient: to `starts`, `ends` and, unless `detached`, to `keys`.
 *
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export function phraseLoss(
  { starts, ends, keys }: PhraseStates,
  { allowed, startsHere, endsHere }: PhraseTargets,
  { temperature = 1, detached = false }: PhraseLossOptions = {},
): PhraseLoss {
  const found = detached ? stopGradient(keys) : keys;
  const scored = (queries: Tensor) =>
    matmul(queries, found, { transB: true, alpha: 1 / (Math.sqrt(keys.shape[1] as number) * temperature) });
  const [startScores, endScores] = [scored(starts), scored(ends)];
  const loss = add(
    multiPositiveSoftmax(startScores, { allowed, positive: startsHere }),
    multiPositiveSoftmax(endScores, { allowed, positive: endsHere }),
  );
  return { loss, startScores, endScores };
}
