import { add, mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { normalize } from '../nn/layers.ts';
import { truncate } from '../nn/truncate.ts';

/** One of the sizes that are trained. */
export interface MatryoshkaSize {
  /** Leading dimensions that are kept, m. */
  readonly dimensions: number;
  /** w_m */
  readonly weight: number;
}

/**
 * Any loss at several sizes of the same embeddings, so that their leading dimensions can be used alone.
 *
 *   L = Σ_m w_m · loss( x[:m] / ‖x[:m]‖, … )
 *
 * @param embeddings  f32[…, D] each
 * @param sizes  m ≤ D
 * @param options.normalize  whether each is of length one after it is cut (true); false where the model's vectors are not either
 * @param options.loss  the loss of embeddings that were cut
 * Gradient: to `embeddings`.
 *
 * Paper: Kusupati et al., "Matryoshka Representation Learning", arXiv:2205.13147. Also known as MatryoshkaLoss.
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
