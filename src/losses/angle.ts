import { abs, add, concat, fill, mul, slice, sub, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize } from '../nn/layers.ts';
import { cosent } from './cosent.ts';

/**
 * Similarity of pairs by their angle in complex space. Its gradient does not vanish where the cosine is near
 * ±1.
 *
 * Each vector is normalised to length one. Its first half holds the real parts and its second half the
 * imaginary parts of D/2 complex numbers x_k + i x'_k:
 *
 *     a(x, y) = | Re⟨x, y⟩ + Im⟨x, y⟩ | = | Σ_k (x_k y_k + x'_k y'_k) + (x'_k y_k − x_k y'_k) |
 *
 * Gradient: to both.
 *
 * @param x f32[B, D], of any length; for an odd D, a dimension of zeros is appended
 * @param y f32[B, D], likewise
 * @returns f32[B], from 0 to √2
 */
export function angleSimilarity(x: Tensor, y: Tensor): Tensor {
  const [a, b] = [x, y].map((of) => halves(normalize(of))) as [Halves, Halves];
  const real = add(mul(a.first, b.first), mul(a.last, b.last));
  const imaginary = sub(mul(a.last, b.first), mul(a.first, b.last));
  return abs(sum(add(real, imaginary), { axes: 1 }));
}

interface Halves {
  first: Tensor;
  last: Tensor;
}

function halves(x: Tensor): Halves {
  const [B, D] = [x.shape[0]!, Number(x.shape[1])];
  const half = Math.ceil(D / 2);
  const last = slice(x, { axis: 1, start: half });
  return {
    first: slice(x, { axis: 1, length: half }),
    last: D % 2 === 0 ? last : concat([last, fill(x.graph, 0, [B, 1])], 1),
  };
}

/**
 * CoSENT loss of angles in complex space.
 *
 *     L = log( 1 + Σ_{(i, j): label_i > label_j} e^{(a_j − a_i) / τ} )
 *
 * Gradient: to `similarities`; none to `labels`.
 *
 * Paper: Li and Li, "AnglE-optimized Text Embeddings", arXiv:2309.12871. Also known as AnglELoss. The paper
 * adds this loss to two others.
 *
 * @param similarities f32[B], a/τ: `angleSimilarity` of each pair, already divided by the temperature
 * @param labels f32[B], of any scale; only their order counts
 * @returns f32[], for the whole batch
 */
export const angle = (similarities: Tensor, labels: Tensor): Tensor => cosent(similarities, labels);
