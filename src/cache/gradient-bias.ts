import type { Comparison, DiagnosisInput } from './diagnosis-passes.ts';

/** Bias of the expected gradient E∇L̂ under stale scores, against the gradient ∇L under fresh scores. */
export interface GradientBias {
  /** ‖E∇L̂ − ∇L‖ / ‖∇L‖ */
  readonly relativeError: number;
  /** Cosine of the angle between E∇L̂ and ∇L. */
  readonly cosine: number;
  /** Largest relative error that the total variation of the distributions allows. */
  readonly relativeErrorBound: number;
}

/** Probability of the positive under fresh and stale scores, and Σ |p̃ − p| with the positive, for each query. */
interface PositiveShares {
  readonly p: Float64Array;
  readonly staleP: Float64Array;
  readonly variations: Float64Array;
}

export function queryBias(
  { positives, fresh, dimension: D }: DiagnosisInput,
  { p, staleP, variations }: PositiveShares,
  { queryGradient, queryError }: Comparison,
): GradientBias {
  let [squares, errorSquares, product] = [0, 0, 0];
  for (let at = 0; at < positives.length; at++) {
    const i = Math.floor(at / D);
    const gradient = queryGradient[at]! - (1 - p[i]!) * positives[at]!;
    const error = queryError[at]! - (p[i]! - staleP[i]!) * positives[at]!;
    squares += gradient ** 2;
    errorSquares += error ** 2;
    product += gradient * error;
  }
  const longest = Math.max(longestRow(fresh, D), longestRow(positives, D));
  return bias({ squares, errorSquares, product }, longest * Math.hypot(...variations));
}

export function documentBias(
  queries: Float32Array,
  { p, staleP, variations }: PositiveShares,
  { documents }: Comparison,
  D: number,
): GradientBias {
  let { squares, errorSquares, product } = documents;
  let bound = 0;
  for (const [i, probability] of p.entries()) {
    const norm = rowProduct(queries, queries, i, D);
    // The positive's gradient is −(1 − p⁺) q and its error is (p̃⁺ − p⁺) q.
    const [weight, error] = [probability - 1, staleP[i]! - probability];
    squares += weight ** 2 * norm;
    errorSquares += error ** 2 * norm;
    product += weight * error * norm;
    bound += Math.sqrt(norm) * variations[i]!;
  }
  return bias({ squares, errorSquares, product }, bound);
}

/** Computes the bias from ‖∇‖², ‖error‖² and ∇·error. Gradient and error of zero give error 0 and cosine 1. */
function bias(
  { squares, errorSquares, product }: { squares: number; errorSquares: number; product: number },
  bound: number,
): GradientBias {
  const ratio = (value: number) => (value === 0 ? 0 : value / Math.sqrt(squares));
  const other = squares + 2 * product + errorSquares;
  return {
    relativeError: ratio(Math.sqrt(errorSquares)),
    cosine: squares === 0 && errorSquares === 0 ? 1 : (squares + product) / Math.sqrt(squares * other),
    relativeErrorBound: ratio(bound),
  };
}

export function rowProduct(a: Float32Array, b: Float32Array, row: number, D: number): number {
  let total = 0;
  for (let i = row * D; i < (row + 1) * D; i++) total += a[i]! * b[i]!;
  return total;
}

export function longestRow(rows: Float32Array, D: number): number {
  let longest = 0;
  for (let row = 0; row * D < rows.length; row++) longest = Math.max(longest, rowProduct(rows, rows, row, D));
  return Math.sqrt(longest);
}
