/**
 * Computes the softmax of the scores of rows that a search has found.
 *
 * @param rows  rows, best first; negative ones stand for none
 * @param scale  factor of the scores
 * @returns probabilities by row
 */
export function softmaxOf(rows: Int32Array, scores: Float32Array, scale: number): Map<number, number> {
  const best = (scores[0] ?? 0) * scale;
  const weights = Array.from(rows, (row, i) => (row < 0 ? 0 : Math.exp(scores[i]! * scale - best)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const found = new Map<number, number>();
  for (const [i, row] of rows.entries()) if (row >= 0) found.set(row, weights[i]! / total);
  return found;
}
