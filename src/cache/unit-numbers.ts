import { UsageError } from '../util/errors.ts';
import { type RngKey, randomInts } from '../util/rng.ts';

/** 32-bit random numbers per draw. */
const WORDS_PER_DRAW = 4;
/** Most draws per query. */
const DRAWS_PER_QUERY = 2 ** 20;

/** Checks a number of draws per query. @throws UsageError when it is not a whole number from 0 to 2²⁰ */
export function checkDraws(k: number): void {
  if (Number.isInteger(k) && k >= 0 && k <= DRAWS_PER_QUERY) return;
  throw new UsageError(`draws per query must be a whole number up to ${DRAWS_PER_QUERY}, got ${k}`);
}

/**
 * Makes random numbers in [0, 1) with 53 random bits, f64[2 · count]: two for each draw of a query, from draw
 * `first` on.
 */
export function unitNumbers(key: RngKey, query: number, first: number, count: number): Float64Array {
  const words = new Uint32Array(WORDS_PER_DRAW * count);
  randomInts(key, 2 ** 32, words, WORDS_PER_DRAW * (query * DRAWS_PER_QUERY + first));
  const numbers = new Float64Array(2 * count);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = ((words[2 * i]! >>> 5) * 2 ** 26 + (words[2 * i + 1]! >>> 6)) * 2 ** -53;
  }
  return numbers;
}
