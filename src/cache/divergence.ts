import { ShapeError } from '../util/errors.ts';
import { logSumExp } from '../util/log-sum-exp.ts';

/** Divergence of a softmax P̃ over stale scores s̃ from the softmax P over fresh scores s. */
export interface Divergence {
  /** KL(P ‖ P̃) = Σ p log(p / p̃), in nats. */
  readonly kl: number;
  /** TV(P, P̃) = ½ Σ |p − p̃|, in [0, 1]. */
  readonly totalVariation: number;
  /** ε = max |s̃ − s| */
  readonly maxScoreError: number;
  /** max (s̃ − s) − min (s̃ − s). A shift of all scores changes neither this range nor the softmax. */
  readonly scoreErrorRange: number;
}

/** Upper bounds on the divergence, given the errors of the scores. */
export interface DivergenceBounds {
  /** KL ≤ ε² / 2 */
  readonly kl: number;
  /** KL ≤ range² / 8, never above ε² / 2 (Hoeffding's lemma) */
  readonly klByRange: number;
  /** TV ≤ tanh(ε / 2) */
  readonly totalVariation: number;
}

/** Bounds the divergence of two softmaxes whose scores differ by at most ε. Above ε ≈ 2 the bounds say little. */
export function divergenceBounds(
  error: Pick<Divergence, 'maxScoreError' | 'scoreErrorRange'>,
): DivergenceBounds {
  const { maxScoreError, scoreErrorRange } = error;
  return {
    kl: maxScoreError ** 2 / 2,
    klByRange: scoreErrorRange ** 2 / 8,
    totalVariation: Math.tanh(maxScoreError / 2),
  };
}

/**
 * Compares softmax(fresh) and softmax(stale) of one query, in double precision.
 *
 * @param fresh  scores, [N]
 * @param stale  scores of the same documents, [N]
 * @throws ShapeError when the lengths differ or are 0
 */
export function softmaxDivergence(fresh: ArrayLike<number>, stale: ArrayLike<number>): Divergence {
  if (fresh.length !== stale.length || fresh.length === 0) {
    throw new ShapeError(`${fresh.length} fresh and ${stale.length} stale scores`);
  }
  const [logZ, staleLogZ] = [logSumExp(fresh), logSumExp(stale)];
  let [kl, distance, most, least] = [0, 0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let n = 0; n < fresh.length; n++) {
    const [logP, staleLogP] = [fresh[n]! - logZ, stale[n]! - staleLogZ];
    kl += Math.exp(logP) * (logP - staleLogP);
    distance += Math.abs(Math.exp(logP) - Math.exp(staleLogP));
    most = Math.max(most, stale[n]! - fresh[n]!);
    least = Math.min(least, stale[n]! - fresh[n]!);
  }
  return {
    kl,
    totalVariation: distance / 2,
    maxScoreError: Math.max(most, -least),
    scoreErrorRange: most - least,
  };
}
