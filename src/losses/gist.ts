import {
  abs,
  and,
  concat,
  equal,
  gatherElements,
  lessOrEqual,
  mul,
  not,
  or,
  range,
  slice,
  stopGradient,
  sub,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/** Similarities inside a batch. The first B documents are the positives, in the order of the queries. */
export interface BatchSimilarities {
  /** f32[B, C]: queries with documents. */
  readonly documents: Tensor;
  /** f32[B, B]: queries with queries. If absent, other queries are not candidates. */
  readonly queries?: Tensor | undefined;
  /** f32[B, B]: positives with positives. If absent, positives are not scored against each other. */
  readonly positives?: Tensor | undefined;
}

/**
 * Names of the ways to apply the margin: as a difference, or relative to the guide's similarity of the
 * positive.
 */
export const GIST_MARGINS = ['absolute', 'relative'] as const;

/**
 * Softmax cross-entropy without candidates that a guide model finds at least as similar as the positive.
 *
 * Such candidates are likely right answers. The candidates of a query are the documents and, where given, the
 * other queries and the positives of the other queries. The latter are scored by their similarity to the
 * query's own positive.
 *
 *     keep(g) = g ≤ g⁺_i − m     (`relative`:  g ≤ g⁺_i − m |g⁺_i|)
 *
 *     L = (1/B) Σ_i [ log( e^{s_ii} + Σ_{j ≠ i, kept} (e^{s(q_i, d_j)} + e^{s(q_i, q_j)} + e^{s(d_i, d_j)}) ) − s_ii ]
 *
 * Here g are the guide's similarities, and g⁺_i is the guide's similarity of query i and its positive.
 *
 * Gradient: to `scores`; none to `guide`.
 *
 * Paper: Solatorio, "GISTEmbed: Guided In-sample Selection of Training Negatives", arXiv:2402.16829. Also
 * known as GISTEmbedLoss. Differs: a text is never a candidate for itself, even where the guide cannot tell
 * query and positive apart.
 *
 * @param scores similarities of the model, already divided by the temperature
 * @param guide cosines of the same texts by the guide
 * @param options.margin m, default 0
 * @param options.strategy whether the margin is `absolute` or `relative`, default `absolute`
 * @param options.allowed bool[B, C]: documents that take part, including each positive; default: all. A positive that does not take
 *   part leaves its query out too
 * @returns f32[], in nats per query
 */
export function gist(
  scores: BatchSimilarities,
  guide: BatchSimilarities,
  options: { margin?: number; strategy?: (typeof GIST_MARGINS)[number]; allowed?: Tensor | undefined } = {},
): Tensor {
  const { margin = 0, strategy = 'absolute', allowed } = options;
  const { graph, shape } = scores.documents;
  const [B, C] = shape as [Tensor['shape'][number], Tensor['shape'][number]];
  const own = unsqueeze(range(graph, B), 1);
  const positive = stopGradient(gatherElements(guide.documents, own, { axis: 1 }));
  const limit = sub(positive, strategy === 'relative' ? mul(abs(positive), margin) : margin);
  const kept = (of: Tensor) => lessOrEqual(stopGradient(of), limit);
  const others = not(equal(own, range(graph, B)));
  // A query whose positive is a right answer of query i asks the same, or nearly: it is no negative either.
  const rest = allowed ? and(others, slice(allowed, { axis: 1, length: B })) : others;

  const documents = or(kept(guide.documents), equal(own, range(graph, C)));
  const candidates = [where(allowed ? and(documents, allowed) : documents, scores.documents, MASKED_SCORE)];
  if (scores.queries && guide.queries) {
    candidates.push(where(and(kept(guide.queries), rest), scores.queries, MASKED_SCORE));
  }
  if (scores.positives && guide.positives) {
    candidates.push(where(and(kept(guide.positives), rest), scores.positives, MASKED_SCORE));
  }
  return softmaxCrossEntropy(concat(candidates, 1), range(graph, B));
}
