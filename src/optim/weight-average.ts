import { add, mul, sub } from '../graph/ops.ts';
import type { Optimizer } from './optimizer.ts';

/**
 * Exponential moving average of weights, in the form of an optimizer.
 *
 *     θ̄ ← θ + m (θ̄ − θ) = m θ̄ + (1 − m) θ
 *
 * The parameter is the average θ̄, and the new value θ takes the place of the gradient. In this form, an
 * average of equal values does not change by a single bit, and m = 0 gives the new value exactly.
 *
 * @param momentum m in [0, 1): share of the old average that is kept
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
