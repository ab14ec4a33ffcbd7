/**
 * Finds the candidate that the user probably meant by a mistyped word ("did you mean …?").
 *
 * Returns the candidate with the smallest edit distance to `word`, ignoring case; the first one on a tie. An
 * edit is an insertion, a deletion, a replacement or a swap of two neighbouring letters. Returns undefined if
 * the distance exceeds a third of the longer word's length (at least one edit is always allowed).
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > maximumLength) return undefined;
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    if (candidate.length > maximumLength) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    const allowed = Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3));
    if (distance <= allowed && distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Limit on the length of a word. Longer texts are not typing errors, and the edit distance costs O(|a| |b|)
 * time.
 */
const maximumLength = 200;

/** Suggestion to append to a message about an unknown word: ` Did you mean 'x'?`, or the empty string. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? '' : ` Did you mean '${candidate}'?`;
}

/** Optimal string alignment distance, by dynamic programming over three rows of the table. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replace, previous[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforePrevious[j - 2]! + 1);
      }
      row.push(cost);
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length]!;
}
