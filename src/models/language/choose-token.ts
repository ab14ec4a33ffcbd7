/** How the next token is chosen among the logits. */
export interface TokenChoice {
  /** Divisor of the logits; 0 for the most likely token. */
  readonly temperature: number;
  /** Number of most likely tokens to choose among. Default all. */
  readonly topK?: number | undefined;
  /** Share of the probability that the tokens to choose among have together, in (0, 1]. */
  readonly topP: number;
}

/**
 * Chooses a token, with p = softmax(logits / temperature) restricted first to the `topK` most likely tokens, then to the fewest most
 * likely tokens whose probabilities, among those, add up to at least `topP`.
 *
 * The order of the restrictions is that of transformers. Of equal logits, the one with the smaller id counts as more likely.
 *
 * @param logits f32[V]
 * @param random  uniform number in (0, 1), by which the token is drawn; not used with temperature 0
 * @returns id of the token
 */
export function chooseToken(
  logits: Float32Array,
  { temperature, topK, topP }: TokenChoice,
  random: number,
): number {
  const best = mostLikely(logits);
  if (temperature === 0) return best;
  const highest = logits[best]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - highest) / temperature));
  const ids = nucleus(likeliest(logits, topK), weights, topP);
  let left = random * sumOf(ids, weights);
  for (const id of ids) {
    left -= weights[id]!;
    if (left < 0) return id;
  }
  return ids.at(-1)!;
}

function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

const sumOf = (ids: readonly number[], weights: Float64Array): number => {
  let sum = 0;
  for (const id of ids) sum += weights[id]!;
  return sum;
};

/** Ids of the k highest logits; all in their order if there are not more. */
function likeliest(logits: Float32Array, k = logits.length): number[] {
  const all = Array.from(logits.keys());
  if (k >= logits.length) return all;
  // Sorting numbers is many times faster than sorting ids by their numbers.
  const least = logits.toSorted()[logits.length - k]!;
  const candidates = all.filter((id) => logits[id]! >= least);
  return candidates.sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, k);
}

/** Fewest ids with the largest weights whose sum is at least a share of the sum of all. */
function nucleus(ids: number[], weights: Float64Array, share: number): readonly number[] {
  if (share === 1) return ids;
  const total = sumOf(ids, weights);
  // Lighter ones weigh less than the rest even if all weigh as much, so few are left to be sorted.
  const least = ((1 - share) * total) / ids.length;
  const sorted = ids.filter((id) => weights[id]! >= least).sort((a, b) => weights[b]! - weights[a]! || a - b);
  let sum = 0;
  const end = sorted.findIndex((id) => {
    sum += weights[id]!;
    return sum >= share * total;
  });
  return end < 0 ? sorted : sorted.slice(0, end + 1);
}
