import { add, div, mul, sqrt, square, sub } from '../graph/ops.ts';
import type { Optimizer } from './optimizer.ts';

export interface AdamWOptions {
  /** Decay of the first moment. Default 0.9. */
  beta1?: number;
  /** Decay of the second moment. Default 0.999. */
  beta2?: number;
  /** Added to the root of the second moment. Default 1e-8. */
  epsilon?: number;
}

/**
 * Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), bias-corrected as in Kingma & Ba 2015.
 *
 *   m ← β₁ m + (1−β₁) g        v ← β₂ v + (1−β₂) g²
 *   θ ← (1 − η λ) θ − η · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
 *
 * Computed as 12 elementwise operations, each a pass over memory, by folding what is constant over a step into four numbers.
 * With s the clipping factor of the gradients and a = √(1−β₂)/(1−β₁), both moments grow by the same scaled gradient:
 *
 *   h = √(1−β₂) s g        u ← β₁ u + h,  which is a m        v ← β₂ v + h²
 *   θ ← (1 − η λ) θ − η√(1−β₂ᵗ)/(a(1−β₁ᵗ)) · u / (√v + ε√(1−β₂ᵗ))
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
