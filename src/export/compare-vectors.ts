/** Difference of vectors from the expected ones. */
export interface VectorDifference {
  /** max |found − expected| / max(1, max |expected|). For unit vectors this is simply the largest difference. */
  readonly largestDifference: number;
  /** Row with the largest difference. */
  readonly row: number;
  /** Mean cosine of found and expected vectors over the rows. */
  readonly meanCosine: number;
  /** Smallest cosine of found and expected vectors over the rows. */
  readonly minCosine: number;
}

/**
 * Compares vectors row by row. NaN makes the difference infinite. Two zero vectors have the cosine 1.
 *
 * @param found  f32[rows, D]
 * @param expected  f32[rows, D]
 */
export function compareVectors(found: Float32Array, expected: Float32Array, D: number): VectorDifference {
  const rows = expected.length / D;
  let [largest, row, scale, sum, minCosine] = [0, 0, 1, 0, 1];
  for (let r = 0; r < rows; r++) {
    let [product, a2, b2] = [0, 0, 0];
    for (let i = r * D; i < (r + 1) * D; i++) {
      const [a, b] = [found[i]!, expected[i]!];
      const difference = Math.abs(a - b);
      if (!(difference <= largest)) [largest, row] = [Number.isNaN(difference) ? Infinity : difference, r];
      scale = Math.max(scale, Math.abs(b));
      product += a * b;
      a2 += a * a;
      b2 += b * b;
    }
    const cosine = a2 === 0 && b2 === 0 ? 1 : product / Math.sqrt(a2 * b2);
    // A cosine that is not finite counts as −1. Math.min alone would carry its NaN over all other rows.
    const known = Number.isFinite(cosine) ? Math.min(1, cosine) : -1;
    sum += known;
    minCosine = Math.min(minCosine, known);
  }
  return { largestDifference: largest / scale, row, meanCosine: rows === 0 ? 1 : sum / rows, minCosine };
}
