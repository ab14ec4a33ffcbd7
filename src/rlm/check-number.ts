import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';

/** @throws UsageError for a number that is not finite and above 0 */
export const checkPositive = (key: string, value: number): void =>
  check(value > 0 && value < Infinity, key, 'above 0', value);

/**
 * Checks a share of a whole of 1, of which a part is taken already.
 *
 * @throws UsageError for a number below 0, or above what is left
 */
export const checkShare = (key: string, value: number, taken = 0): void =>
  check(value >= 0 && value + taken <= 1, key, `from 0 to ${1 - taken}`, value);

/** @throws UsageError for a number that is not whole, or below the least */
export const checkWhole = (key: string, value: number, least: number): void =>
  check(Number.isSafeInteger(value) && value >= least, key, `a whole number of at least ${least}`, value);

function check(isRight: boolean, key: string, range: string, value: number): void {
  if (!isRight) throw new UsageError(`${option(key)} must be ${range}, found ${value}`);
}
