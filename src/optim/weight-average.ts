import { add, mul, sub } from '../graph/ops.ts';
import type { Optimizer } from './optimizer.ts';

/**
 * An exponential average as an elementwise formula, in the form in which updates are run. The parameter is the average θ̄; what
 * stands in the place of the gradient is the new value θ.
 *
 *   θ̄ ← θ + m (θ̄ − θ),   which is  m θ̄ + (1 − m) θ
 *
 * In this form an average of equal values stays what it is to the bit, and with m = 0 it is the new value.
 *
 * @param momentum  m in [0, 1): share of the old average that is kept
 */
export const weightAverage = (momentum: number): Optimizer => ({
  id: 'weight-average',
  slots: [],
  scalars: ['momentum'],
  numbers: () => ({ momentum }),
  update: ({ parameter, gradient }, s) => ({
    parameter: add(gradient, mul(sub(parameter, gradient), s.momentum!)),
    slots: {},
  }),
});
