import {
  add,
  cast,
  concat,
  div,
  logSumExp,
  maximum,
  mean,
  mul,
  neg,
  softplus,
  square,
  stopGradient,
  sub,
  sum,
  unsqueeze,
  where,
} from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { klDistillation } from '../../losses/kl-distillation.ts';
import { marginMse } from '../../losses/margin-mse.ts';
import { marginalLikelihood } from '../../losses/marginal-likelihood.ts';
import type { CrossEncoderLoss } from '../../methods/contract/loss-names.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';

/** Logits of B queries with a positive each, and with k negatives each where there are any. */
export interface ListScores {
  /** f32[B]: logits of the positives. */
  readonly positive: Tensor;
  /** f32[B, k]: logits of the negatives; absent where there are none. */
  readonly negatives?: Tensor | undefined;
  /** bool[B, k]: negatives that take part. */
  readonly allowed?: Tensor | undefined;
}

/** Scores of the data for the same texts, f32[B] and f32[B, k]. */
export interface ListLabels {
  readonly positive: Tensor;
  readonly negatives?: Tensor | undefined;
}

/**
 * Loss of a cross-encoder over lists of one positive and k negatives, of which s⁺_i and s_ij are the logits, and t⁺_i and t_ij the
 * scores of the data:
 *
 *     bce         mean of softplus(s) − y s over all pairs; y is 1 for positives and 0 for negatives, or the score of a scored pair
 *     softmax     (1/B) Σ_i [ log( exp(s⁺_i) + Σ_j exp(s_ij) ) − s⁺_i ]
 *     mse         mean of (s − t)² over all pairs
 *     margin-mse  (1/B) Σ_i (1/k) Σ_j ( (s⁺_i − s_ij) − (t⁺_i − t_ij) )²
 *     kl          (1/B) Σ_i KL( softmax(t_i) ‖ softmax(s_i) )
 *     marginal-likelihood   −(1/B) Σ_i log Σ_c softmax_c(s_i) exp(t_ic), t being log-likelihoods of a text given each document
 *
 * Negatives that are not allowed take no part.
 *
 * @param labels  required for `mse`, `margin-mse`, `kl` and `marginal-likelihood`; with `bce` they replace 1 and 0
 * @returns f32[]
 */
export function listLoss(loss: CrossEncoderLoss, scores: ListScores, labels: ListLabels | undefined): Tensor {
  const { positive, negatives, allowed } = scores;
  switch (loss) {
    case 'bce':
      return meanOfPairs(
        scores,
        labels
          ? sub(softplus(positive), mul(stopGradient(labels.positive), positive))
          : softplus(neg(positive)),
        negatives &&
          (labels?.negatives
            ? sub(softplus(negatives), mul(stopGradient(labels.negatives), negatives))
            : softplus(negatives)),
      );
    case 'softmax': {
      const others = allowed ? where(allowed, negatives!, MASKED_SCORE) : negatives!;
      const all = concat([unsqueeze(positive, 1), others], 1);
      return mean(sub(logSumExp(all, { axes: 1 }), positive));
    }
    case 'mse': {
      const error = (s: Tensor, t: Tensor) => square(sub(s, stopGradient(t)));
      return meanOfPairs(
        scores,
        error(positive, labels!.positive),
        negatives && error(negatives, labels!.negatives!),
      );
    }
    case 'margin-mse':
      return marginMse({ positive, negatives: negatives!, allowed }, teacher(labels!));
    case 'kl':
      return klDistillation({ positive, negatives: negatives!, allowed }, teacher(labels!), {
        temperature: 1,
      });
    case 'marginal-likelihood':
      return marginalLikelihood({ positive, negatives: negatives!, allowed }, teacher(labels!));
  }
}

const teacher = ({ positive, negatives }: ListLabels) => ({ positive, negatives: negatives! });

/** Mean of a value of all pairs: those of the positives f32[B], and those of the allowed negatives f32[B, k]. */
function meanOfPairs({ allowed }: ListScores, positives: Tensor, negatives: Tensor | undefined): Tensor {
  if (!negatives) return mean(positives);
  const kept = allowed ? where(allowed, negatives, 0) : negatives;
  const one = (x: Tensor): Tensor => add(mul(x, 0), 1);
  const count = allowed ? sum(cast(allowed, 'f32')) : sum(one(negatives));
  return div(add(sum(positives), sum(kept)), maximum(add(sum(one(positives)), count), 1));
}
