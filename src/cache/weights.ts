import { UndriftError } from '../util/errors.ts';
import { MASKED_SCORE } from './masks.ts';

/** log Σ exp in double precision; −∞ where all are masked, NaN where a value is. */
export function logSumExp(values: Float32Array): number {
  const largest = maximum(values);
  if (largest <= MASKED_SCORE) return values.some(Number.isNaN) ? Number.NaN : Number.NEGATIVE_INFINITY;
  let total = 0;
  for (let i = 0; i < values.length; i++) total += Math.exp(values[i]! - largest);
  return largest + Math.log(total);
}

export function maximum(values: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) if (values[i]! > largest) largest = values[i]!;
  return largest;
}

/**
 * Running sums of the weights exp(value − largest); returns the total. All are 0 where nothing has weight.
 * @throws UndriftError where a value is not a number
 */
export function cumulate(values: Float32Array, cumulative: Float64Array): number {
  const largest = maximum(values);
  if (largest <= MASKED_SCORE) {
    if (values.some(Number.isNaN)) throw notANumber();
    cumulative.fill(0);
    return 0;
  }
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    total += Math.exp(values[i]! - largest);
    cumulative[i] = total;
  }
  if (Number.isNaN(total)) throw notANumber();
  return total;
}

/** Position of a target of [0, total): the first whose running sum is above it, which has a weight of its own. */
export function findAbove(cumulative: Float64Array, target: number): number {
  let [low, high] = [0, cumulative.length - 1];
  const total = cumulative[high]!;
  while (low < high) {
    const middle = (low + high) >> 1;
    // The second condition: where rounding has made the target equal to the total.
    if (cumulative[middle]! > target || cumulative[middle] === total) high = middle;
    else low = middle + 1;
  }
  return low;
}

export const notANumber = (): UndriftError =>
  new UndriftError('the score of a query with a cached embedding is not a number', {
    help: 'the training has diverged: lower the learning rate',
  });
