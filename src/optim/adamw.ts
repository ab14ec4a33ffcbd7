import { add, div, mul, sqrt, square, sub } from '../graph/ops.ts';
import type { Optimizer } from './optimizer.ts';

/** Options of `adamw`. */
export interface AdamWOptions {
  /** Decay rate of the first moment, β₁ in [0, 1). Default 0.9. */
  beta1?: number;
  /** Decay rate of the second moment, β₂ in [0, 1). Default 0.999. */
  beta2?: number;
  /** Constant ε > 0 that is added to the root of the second moment. Default 1e-8. */
  epsilon?: number;
}

/**
 * Makes the optimizer AdamW: Adam with decoupled weight decay and bias correction.
 *
 *     m ← β₁ m + (1−β₁) g        v ← β₂ v + (1−β₂) g²
 *     θ ← (1 − η λ) θ − η · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
 *
 * The update takes 12 elementwise operations, each a pass over memory, because factors that are constant over
 * a step are folded into four numbers. With the clipping factor s of the gradients and a = √(1−β₂)/(1−β₁),
 * both moments use the same scaled gradient h:
 *
 *     h = √(1−β₂) s g        u ← β₁ u + h, so u = a m        v ← β₂ v + h²
 *     θ ← (1 − η λ) θ − η√(1−β₂ᵗ)/(a(1−β₁ᵗ)) · u / (√v + ε√(1−β₂ᵗ))
 *
 * Paper: Loshchilov and Hutter 2019, arXiv:1711.05101; bias correction as in Kingma and Ba 2015.
 */
export function adamw({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: AdamWOptions = {}): Optimizer {
  const momentRatio = Math.sqrt(1 - beta2) / (1 - beta1);
  return {
    id: 'adamw',
    slots: ['u', 'v'],
    scalars: ['keep', 'gradientFactor', 'rate', 'epsilon'],
    numbers({ step, learningRate, gradientScale, weightDecay }) {
      const correction2 = Math.sqrt(1 - beta2 ** step);
      return {
        keep: 1 - learningRate * weightDecay,
        gradientFactor: Math.sqrt(1 - beta2) * gradientScale,
        rate: (learningRate * correction2) / (momentRatio * (1 - beta1 ** step)),
        epsilon: epsilon * correction2,
      };
    },
    update({ parameter, gradient, slots }, s) {
      const h = mul(gradient, s.gradientFactor!);
      const u = add(mul(slots.u!, beta1), h);
      const v = add(mul(slots.v!, beta2), square(h));
      const change = mul(div(u, add(sqrt(v), s.epsilon!)), s.rate!);
      return { parameter: sub(mul(parameter, s.keep!), change), slots: { u, v } };
    },
  };
}
