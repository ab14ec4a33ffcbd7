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
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

/** Similarities inside a batch; the first B documents are the positives in the queries' order. */
export interface BatchSimilarities {
  /** f32[B, C]: queries with documents. */
  readonly documents: Tensor;
  /** f32[B, B]: queries with queries; absent where these are no candidates. */
  readonly queries?: Tensor | undefined;
  /** f32[B, B]: positives with positives; absent where these are no candidates. */
  readonly positives?: Tensor | undefined;
}

export const GIST_MARGINS = ['absolute', 'relative'] as const;

/**
 * Softmax cross-entropy without the candidates that a guide, another model, finds at least as similar as the positive: they are
 * likely right answers. Other queries, and documents like the positive, are candidates too.
 *
 *   keep(g) = g ≤ g⁺_i − m     (`relative`:  g ≤ g⁺_i − m |g⁺_i|)          g: the guide's similarities, g⁺_i that of query i's positive
 *
 *   L = (1/B) Σ_i [ log( e^{s_ii} + Σ_{j ≠ i, kept} (e^{s(q_i, d_j)} + e^{s(q_i, q_j)} + e^{s(d_i, d_j)}) ) − s_ii ]
 *
 * @param scores  already divided by the temperature
 * @param guide  the guide's cosines of the same texts
 * @param options.margin  m. Default 0
 * @param options.allowed  bool[B, C]: documents that take part; the positive must. Default: all
 * Gradient: to `scores`; none to `guide`.
 *
 * Paper: Solatorio, "GISTEmbed: Guided In-sample Selection of Training Negatives", arXiv:2402.16829. Also known as GISTEmbedLoss.
 * Differs: a text is no candidate beside itself, also where the guide takes query and positive for the same.
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
  const mayAnswer = allowed && slice(allowed, { axis: 1, length: B });

  const documents = or(kept(guide.documents), equal(own, range(graph, C)));
  const candidates = [where(allowed ? and(documents, allowed) : documents, scores.documents, -1e30)];
  if (scores.queries && guide.queries) {
    candidates.push(where(and(kept(guide.queries), others), scores.queries, -1e30));
  }
  if (scores.positives && guide.positives) {
    const unlike = and(kept(guide.positives), mayAnswer ? and(others, mayAnswer) : others);
    candidates.push(where(unlike, scores.positives, -1e30));
  }
  return softmaxCrossEntropy(concat(candidates, 1), range(graph, B));
}
