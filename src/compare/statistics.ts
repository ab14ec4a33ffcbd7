/** Mean and spread of a value over the seeds. */
export interface Spread {
  /** Arithmetic mean. */
  readonly mean: number;
  /** Sample standard deviation, √(Σ (x − mean)² / (n − 1)); null for fewer than two values. */
  readonly sd: number | null;
  /** The values themselves. */
  readonly values: readonly number[];
}

/**
 * Computes mean and sample standard deviation.
 *
 * @throws RangeError for an empty list
 */
export function spread(values: readonly number[]): Spread {
  const n = values.length;
  if (n === 0) throw new RangeError('no values have no mean');
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: n < 2 ? null : Math.sqrt(squares / (n - 1)), values };
}

/**
 * Adjusts the p-values of m tests by Holm's method. The probability of even one false rejection among the
 * tests stays below the level.
 *
 *     sorted ascending p_(1) ≤ … ≤ p_(m):  p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))
 *
 * @paper Holm 1979: "A simple sequentially rejective multiple test procedure".
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a]! - pValues[b]!);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  for (const [rank, i] of order.entries()) {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]!));
    adjusted[i] = largest;
  }
  return adjusted;
}
