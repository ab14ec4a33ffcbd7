import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UndriftError } from '../util/errors.ts';

/** Computes log Σ exp in double precision; −∞ if all values are masked, NaN if a value is NaN. */
export function logSumExp(values: Float32Array): number {
  const largest = maximum(values);
  if (largest <= MASKED_SCORE) return values.some(Number.isNaN) ? Number.NaN : Number.NEGATIVE_INFINITY;
  let total = 0;
  for (let i = 0; i < values.length; i++) total += Math.exp(values[i]! - largest);
  return largest + Math.log(total);
}

/** Finds the largest value; NaN values are ignored. */
export function maximum(values: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) if (values[i]! > largest) largest = values[i]!;
  return largest;
}

/**
 * Computes the running sums of the weights exp(value − largest) and returns the total. All sums are 0 if
 * every value is masked.
 *
 * @throws UndriftError when a value is NaN
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

/**
 * Finds the position of a target in [0, total): the first whose running sum is above the target. This
 * position always has a weight above 0.
 */
export function findAbove(cumulative: Float64Array, target: number): number {
  let [low, high] = [0, cumulative.length - 1];
  const total = cumulative[high]!;
  while (low < high) {
    const middle = (low + high) >> 1;
    // The second condition holds when rounding has made the target equal to the total.
    if (cumulative[middle]! > target || cumulative[middle] === total) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Error for a score that is NaN. */
export const notANumber = (): UndriftError =>
  new UndriftError('the score of a query with a cached embedding is not a number', {
    help: 'the training has diverged: lower the learning rate',
  });
