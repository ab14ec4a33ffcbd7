import { mean, square, stopGradient, sub } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * Mean squared difference between the cosines of pairs and their labels.
 *
 *     L = (1/B) Σ_i ( cos(x_i, y_i) − label_i )²
 *
 * Gradient: to `cosines`; none to `labels`.
 *
 * Paper: Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3, regression objective. Also known
 * as CosineSimilarityLoss.
 *
 * @param cosines f32[B] (`pairCosines`)
 * @param labels f32[B], from −1 to 1, the range of a cosine
 * @returns f32[]
 */
export const cosineSimilarity = (cosines: Tensor, labels: Tensor): Tensor =>
  mean(square(sub(cosines, stopGradient(labels))));
