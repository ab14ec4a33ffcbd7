import { add, mul, sign, sub } from '../graph/ops.ts';
import { DECOUPLED_DECAY, type Optimizer } from './optimizer.ts';

/**
 * Makes the optimizer Lion: steps by the sign of an interpolated momentum.
 *
 *     θ ← (1 − η λ) θ − η sign(β₁ m + (1−β₁) g)        m ← β₂ m + (1−β₂) g
 *
 * Lion needs a learning rate 3 to 10 times smaller than that of AdamW, and a weight decay larger by the same
 * factor. Both interpolations are computed as g + β (m − g), so that m is read once and can be overwritten in
 * place.
 *
 * Paper: Chen et al. 2023, arXiv:2302.06675.
 *
 * @param options.beta1 β₁, default 0.9
 * @param options.beta2 β₂, default 0.99
 */
export function lion({ beta1 = 0.9, beta2 = 0.99 }: { beta1?: number; beta2?: number } = {}): Optimizer {
  return {
    id: 'lion',
    slots: ['m'],
    ...DECOUPLED_DECAY,
    update({ parameter, gradient, slots }, s) {
      const g = mul(gradient, s.gradientScale!);
      const distance = sub(slots.m!, g);
      const direction = sign(add(g, mul(distance, beta1)));
      const m = add(g, mul(distance, beta2));
      return { parameter: sub(mul(parameter, s.keep!), mul(direction, s.rate!)), slots: { m } };
    },
  };
}
