import { randomInts, rngKey } from '../util/rng.ts';
import type { TokenMemory } from './token-datastore.ts';

/**
 * Makes a memory whose keys have the tokens of other places, drawn at random: a control. The same keys are found at the same cost, and what
 * they predict has nothing to do with them, only with how frequent tokens are.
 *
 * @param memory  memory that is searched; it belongs to the caller
 */
export function withRandomTokens(memory: TokenMemory, { seed = 0 } = {}): TokenMemory {
  const places = new Int32Array(memory.size);
  randomInts(rngKey(seed, 0, 'random tokens'), memory.size, places);
  return {
    ...{ size: memory.size, dimension: memory.dimension, keys: memory.keys },
    values: places.map((place) => memory.values[place]!),
    rowsOf: (document) => memory.rowsOf(document),
    search: (queries, k, options) => memory.search(queries, k, options),
  };
}
