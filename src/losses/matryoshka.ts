import { add, mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize, truncate } from '../nn/layers.ts';

/** Truncated embedding size to train, with its weight. */
export interface MatryoshkaSize {
  /** Number of leading dimensions that are kept, m. */
  readonly dimensions: number;
  /** Weight w_m of the loss at this size. */
  readonly weight: number;
}

/**
 * Sum of a loss at several sizes of the same embeddings, so that the leading dimensions can be used alone.
 *
 *     L = Σ_m w_m · loss( x[:m] / ‖x[:m]‖, … )
 *
 * Gradient: to `embeddings`.
 *
 * Paper: Kusupati et al., "Matryoshka Representation Learning", arXiv:2205.13147. Also known as
 * MatryoshkaLoss.
 *
 * @param embeddings f32[…, D] each
 * @param sizes sizes m ≤ D, at least one
 * @param options.normalize whether to normalise each vector after truncation, default true; false for models
 *   whose vectors are not normalised
 * @param options.loss loss of the truncated embeddings
 * @returns f32[]
 */
export function matryoshka<E extends Readonly<Record<string, Tensor>>>(
  embeddings: E,
  sizes: readonly MatryoshkaSize[],
  options: { normalize?: boolean; loss: (cut: E, dimensions: number) => Tensor },
): Tensor {
  const { normalize: unit = true, loss } = options;
  const losses = sizes.map(({ dimensions, weight }) => {
    const cut = Object.entries(embeddings).map(([name, x]) => {
      const part = truncate(x, dimensions);
      return [name, unit ? normalize(part) : part] as const;
    });
    return mul(loss(Object.fromEntries(cut) as E, dimensions), weight);
  });
  return losses.reduce((sum, one) => add(sum, one));
}
