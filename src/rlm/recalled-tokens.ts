import { logAddExp } from '../util/log-sum-exp.ts';

/**
 * Tokens that a memory recalls at each of n places of a text, with their similarities. A memory is a datastore, of which the nearest
 * tokens are held, or the text before the place.
 *
 *     p_memory(x_t) = Σ_{i: token i = x_t} softmax_i(scale · similarity_i)
 */
export class RecalledTokens {
  /** i32[n + 1]: place t owns the tokens `starts[t]` to `starts[t + 1]`. */
  readonly starts: Int32Array;
  /** f32[starts[n]]: similarities: −‖q − k‖² or q · k of neighbours, q · k of a cache. */
  readonly similarities: Float32Array;
  /** u8[starts[n]]: 1 where the token is the one that stands at the place. */
  readonly matches: Uint8Array;

  constructor(starts: Int32Array, similarities: Float32Array, matches: Uint8Array) {
    this.starts = starts;
    this.similarities = similarities;
    this.matches = matches;
  }

  /** Number of places, n. */
  get places(): number {
    return this.starts.length - 1;
  }

  /**
   * Computes log p_memory(x_t) of every place, in log space.
   *
   * @param scale  inverse temperature, ≥ 0
   * @param most  number of tokens of a place that count, the first of them. Default all
   * @returns f64[n]: −∞ where no token of the memory matches; NaN where it holds none
   */
  logProbabilities(scale: number, most = Number.POSITIVE_INFINITY): Float64Array {
    const found = new Float64Array(this.places);
    for (let t = 0; t < found.length; t++) {
      const { best, all, matching } = this.sums(t, scale, most);
      found[t] = best === Number.NEGATIVE_INFINITY ? Number.NaN : Math.log(matching / all);
    }
    return found;
  }

  /**
   * Computes the logarithms of the sums of exp(scale · similarity) over all tokens of each place, and over those that match.
   *
   * @param scale  inverse temperature, ≥ 0
   * @returns f64[n] each: −∞ where nothing is summed
   */
  logSums(scale: number): { readonly all: Float64Array; readonly matching: Float64Array } {
    const [all, matching] = [new Float64Array(this.places), new Float64Array(this.places)];
    for (let t = 0; t < this.places; t++) {
      const sums = this.sums(t, scale);
      const largest = sums.best === Number.NEGATIVE_INFINITY ? 0 : scale * sums.best;
      all[t] = largest + Math.log(sums.all);
      matching[t] = largest + Math.log(sums.matching);
    }
    return { all, matching };
  }

  /** Sums of exp(scale · (similarity − best)) over the tokens of a place, and the best similarity: −∞ where there is none. */
  private sums(t: number, scale: number, most = Number.POSITIVE_INFINITY) {
    const { starts, similarities, matches } = this;
    const start = starts[t]!;
    const end = Math.min(starts[t + 1]!, start + most);
    let best = Number.NEGATIVE_INFINITY;
    for (let i = start; i < end; i++) if (similarities[i]! > best) best = similarities[i]!;
    let [all, matching] = [0, 0];
    for (let i = start; i < end; i++) {
      const weight = Math.exp(scale * (similarities[i]! - best));
      all += weight;
      if (matches[i] === 1) matching += weight;
    }
    return { best, all, matching };
  }

  /** Mean over the places of the largest minus the mean similarity: the unit in which a temperature is sensible. */
  get spread(): number {
    const { starts, similarities } = this;
    let [total, places] = [0, 0];
    for (let t = 0; t < this.places; t++) {
      const [start, end] = [starts[t]!, starts[t + 1]!];
      if (end - start < 2) continue;
      let [best, sum] = [Number.NEGATIVE_INFINITY, 0];
      for (let i = start; i < end; i++) {
        sum += similarities[i]!;
        if (similarities[i]! > best) best = similarities[i]!;
      }
      total += best - sum / (end - start);
      places += 1;
    }
    return places === 0 ? 0 : total / places;
  }
}

/** Distribution of the next token that a memory gives, with its weight in the mixture. */
export interface MixedMemory {
  /** f64[n]: log p_memory(x_t); −∞ where it gives the token no probability, NaN where it is empty. */
  readonly logProbabilities: Float64Array;
  /** Weight, in [0, 1]. */
  readonly weight: number;
}

/**
 * Mixes the predictions of a language model with those of memories, in log space:
 *
 *     log p(x_t) = log( (1 − Σ_m λ_m) p_LM(x_t) + Σ_m λ_m p_m(x_t) )
 *
 * The weight of a memory that is empty at a place, such as the cache at the first one, goes to the language model. With all weights 0
 * the predictions of the language model are returned to the bit.
 *
 * @param base  f32[n]: log p_LM(x_t), in nats
 * @returns f32[n]
 */
export function mixLogProbabilities(base: ArrayLike<number>, memories: readonly MixedMemory[]): Float32Array {
  const mixed = new Float32Array(base.length);
  for (let t = 0; t < base.length; t++) {
    let own = 1;
    let sum = Number.NEGATIVE_INFINITY;
    for (const { logProbabilities, weight } of memories) {
      const logProbability = logProbabilities[t]!;
      if (weight === 0 || Number.isNaN(logProbability)) continue;
      own -= weight;
      sum = logAddExp(sum, logProbability + Math.log(weight));
    }
    mixed[t] = logAddExp(base[t]! + Math.log(Math.max(0, own)), sum);
  }
  return mixed;
}
