import {
  abs,
  cast,
  div,
  exp,
  gatherElements,
  greater,
  log,
  maximum,
  mul,
  range,
  relu,
  sub,
  sum,
  topK,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';

/** Candidates of queries, with grades of how useful they are. */
export interface GradedCandidates {
  /** f32[Q, N]: grade of each candidate, ≥ 0; 0 for negatives. */
  readonly grades: Tensor;
  /** f32[Q, N]: 1 for candidates that take part, else 0. */
  readonly allowed: Tensor;
  /** i64[Q, P]: columns of the candidates of each query with a grade above 0, each once; any column where there are fewer. */
  readonly positives: Tensor;
  /** f32[Q, P]: 1 for positives, 0 where there are fewer. */
  readonly isPositive: Tensor;
}

/**
 * Ranking loss of RPT: a hinge on each pair of candidates of which one has the higher grade, weighted by how much the NDCG changes if the two
 * change places.
 *
 *     L = (1/#pairs) Σ_q Σ_{(j, l): t_l > 0, t_l > t_j} λ_jl · max(0, τ − (s_l − s_j))
 *     λ_jl = |2^{t_l} − 2^{t_j}| · |1/log₂(1 + r_l) − 1/log₂(1 + r_j)| / IDCG_q
 *
 * with grades t, and ranks r from 1 by the scores s (of equal scores, the first column comes first). The weights λ have no gradient. The loss
 * is 0 where τ separates all pairs, and where there is no pair.
 *
 * Memory: f32[Q, P, N], a few times.
 *
 * Gradient: to `scores`.
 *
 * @param scores f32[Q, N]
 * @param candidates candidates of the queries, with their grades
 * @param options.margin margin τ: a number, or f32 that broadcasts to [1, 1, 1]
 * @returns f32[]
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421; the weights are those of LambdaRank (Burges
 * et al. 2006). The released code of the paper weighs by differences of log₂(1 + r) in place of those of the discounts.
 */
export function lambdaRank(
  scores: Tensor,
  candidates: GradedCandidates,
  { margin }: { readonly margin: Tensor | number },
): Tensor {
  const { grades, allowed, positives, isPositive } = candidates;
  const takesPart = greater(allowed, 0.5);
  const graded = where(takesPart, grades, 0);
  const discounts = discountsOf(where(takesPart, scores, MASKED_SCORE));
  const found = mul(isPositive, gatherElements(allowed, positives, { axis: 1 }));
  const own = where(greater(found, 0.5), gatherElements(grades, positives, { axis: 1 }), 0);

  // Powers of two are divided by that of the best grade of the query, so that none overflows. The quotient with the IDCG stays as it is.
  const [first] = ranked(own, 1);
  const power = (t: Tensor) => exp(mul(sub(t, first!), Math.LN2));
  const ideal = ranked(own, own.shape[1]!)[0]!;
  const places = unsqueeze(discountAt(cast(range(scores.graph, own.shape[1]!), 'f32')), 0);
  const gains = sub(power(ideal), exp(mul(first!, -Math.LN2)));
  const idealGain = sum(mul(gains, places), { axes: 1, keepDims: true });

  const positive = (x: Tensor) => unsqueeze(gatherElements(x, positives, { axis: 1 }), 2);
  const gap = (of: Tensor, all: Tensor) => sub(of, unsqueeze(all, 1));
  const isPair = mul(
    mul(cast(greater(gap(unsqueeze(own, 2), graded), 0), 'f32'), unsqueeze(allowed, 1)),
    unsqueeze(found, 2),
  );
  const lambda = mul(
    abs(gap(unsqueeze(power(own), 2), power(graded))),
    abs(gap(positive(discounts), discounts)),
  );
  const weights = div(mul(isPair, lambda), unsqueeze(maximum(idealGain, SMALLEST_GAIN), 2));
  const hinge = relu(sub(margin, gap(positive(scores), scores)));
  return div(sum(mul(weights, hinge)), maximum(sum(isPair), 1));
}

/** Gain below which a query has no positive candidate, whose pairs count. */
const SMALLEST_GAIN = 1e-30;

/** Values of the best k elements of each row, and their columns. */
function ranked(x: Tensor, k: Tensor['shape'][number]): [values: Tensor, columns: Tensor] {
  const { values, indices } = topK(x, { k });
  return [values, indices];
}

/** Discounts of DCG by the ranks of scores, f32[Q, N]. No gradient. */
function discountsOf(scores: Tensor): Tensor {
  const size = scores.shape[1]!;
  const [, order] = ranked(scores, size);
  // The permutation that sorts a permutation is its inverse: the place of each column.
  const { indices } = topK(cast(order!, 'f32'), { k: size, largest: false });
  return discountAt(cast(indices, 'f32'));
}

/** 1 / log₂(1 + rank), by the place from 0. */
const discountAt = (places: Tensor): Tensor => div(Math.LN2, log(sub(places, -2)));
