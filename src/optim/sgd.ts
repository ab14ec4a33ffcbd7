import { add, mul, sub } from '../graph/ops.ts';
import { DECOUPLED_DECAY, type Optimizer } from './optimizer.ts';

/**
 * Makes stochastic gradient descent with momentum and decoupled weight decay.
 *
 *     u ← μ u + g        θ ← (1 − η λ) θ − η u
 *
 * Differs from PyTorch, which adds λ θ to the gradient.
 *
 * @param options.momentum μ, default 0.9
 */
export function sgd({ momentum = 0.9 }: { momentum?: number } = {}): Optimizer {
  return {
    id: 'sgd',
    slots: momentum === 0 ? [] : ['momentum'],
    ...DECOUPLED_DECAY,
    update({ parameter, gradient, slots }, s) {
      const scaled = mul(gradient, s.gradientScale!);
      const velocity = slots.momentum ? add(mul(slots.momentum, momentum), scaled) : scaled;
      const next = sub(mul(parameter, s.keep!), mul(velocity, s.rate!));
      return { parameter: next, slots: slots.momentum ? { momentum: velocity } : {} };
    },
  };
}
