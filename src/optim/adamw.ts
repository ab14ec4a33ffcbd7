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
 * Written as  η√(1−β₂ᵗ)/(1−β₁ᵗ) · m / (√v + ε√(1−β₂ᵗ)), the same number with two passes over memory less. The clipping factor
 * of the gradients is folded into the moments' factors.
 */
export function adamw({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: AdamWOptions = {}): Optimizer {
  return {
    id: 'adamw',
    slots: ['m', 'v'],
    scalars: ['keep', 'mFactor', 'vFactor', 'rate', 'epsilon'],
    numbers({ step, learningRate, gradientScale, weightDecay }) {
      const correction2 = Math.sqrt(1 - beta2 ** step);
      return {
        keep: 1 - learningRate * weightDecay,
        mFactor: (1 - beta1) * gradientScale,
        vFactor: (1 - beta2) * gradientScale ** 2,
        rate: (learningRate * correction2) / (1 - beta1 ** step),
        epsilon: epsilon * correction2,
      };
    },
    update({ parameter, gradient, slots }, s) {
      const m = add(mul(slots.m!, beta1), mul(gradient, s.mFactor!));
      const v = add(mul(slots.v!, beta2), mul(square(gradient), s.vFactor!));
      const change = mul(div(m, add(sqrt(v), s.epsilon!)), s.rate!);
      return { parameter: sub(mul(parameter, s.keep!), change), slots: { m, v } };
    },
  };
}
