import { addDims } from '../../graph/dims.ts';
import { add, div, mean, mul, reshape, slice, sqrt, square, sum, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { CrossAttentionListener } from '../architectures/architecture.ts';

/**
 * Attention of targets to each state that they read, times the norm of its value, as in Atlas (Izacard et al. 2023, arXiv:2208.03299):
 * the mean over the layers and heads of a decoder and over the places that predict a token of the target.
 *
 *     m_k = mean over layers, heads and places t of a_tk ‖v_k‖
 */
export class AttentionMass {
  readonly #layers: Tensor[] = [];

  /**
   * Makes the listener of one forward pass.
   *
   * @param mask tokens of the targets with the start token, f32[B, T]; the last token of each predicts nothing
   */
  listener(mask: Tensor): CrossAttentionListener {
    return (_, attention) => {
      this.#layers.push(layerMass(attention, mask));
    };
  }

  /** Builds the mean over the layers that have been heard, f32[B, K]. */
  mean(): Tensor {
    const layers = this.#layers;
    return mul(
      layers.reduce((a, b) => add(a, b)),
      1 / layers.length,
    );
  }
}

/**
 * Builds the mass of a layer: the mean over heads and over the places that predict a
 * token of the target.
 *
 * @param attention probabilities f32[B, H, T, K], values f32[B, G, K, S]
 * @param mask tokens of the targets with the start token, f32[B, T]; the last token of each predicts nothing
 * @returns f32[B, K]
 */
function layerMass(
  { probabilities, values }: { probabilities: Tensor; values: Tensor },
  mask: Tensor,
): Tensor {
  const [batch, heads, tokens, states] = probabilities.shape as [string, number, string, string];
  const groups = values.shape[1] as number;
  // A place predicts a token if the next place holds one.
  const places = addDims(tokens, -1);
  const predicts = slice(mask, { axis: 1, start: 1 });
  const weights = div(predicts, sum(predicts, { axes: 1, keepDims: true }));
  const asking = slice(probabilities, { axis: 2, length: places });
  const perHead = sum(mul(asking, reshape(weights, [batch, 1, places, 1])), { axes: 2 });
  const norms = unsqueeze(sqrt(sum(square(values), { axes: -1 })), 2);
  const grouped = mul(reshape(perHead, [batch, groups, heads / groups, states]), norms);
  return mean(reshape(grouped, [batch, heads, states]), { axes: 1 });
}
