import { type RngKey, randomInts } from '../util/rng.ts';

/** 32-bit random numbers per draw. */
const WORDS_PER_DRAW = 4;
/** Most draws per query. */
export const DRAWS_PER_QUERY = 2 ** 20;

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
