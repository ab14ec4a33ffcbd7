import { times, transposedTimes } from './matrices.ts';

/**
 * Number of products with the matrix. Axes whose eigenvalues are as two to three are then separated to about
 * a fiftieth.
 */
const ROUNDS = 10;

/**
 * Computes an orthonormal basis of the r largest principal axes of  S = LᵀR  by subspace iteration. S must be
 * symmetric and positive semi-definite.
 *
 * @param left  L, f64[n, n]
 * @param right  R, f64[n, n]
 * @param options.start  r random directions, f32[n, r]
 * @returns f64[n, r]; a column is zero if S has fewer axes
 */
export function dominantSubspace(
  left: Float64Array,
  right: Float64Array,
  { n, rank, start }: { n: number; rank: number; start: Float32Array },
): Float64Array {
  let basis = orthonormal(Float64Array.from(start), n, rank);
  for (let round = 0; round < ROUNDS; round++) {
    basis = orthonormal(transposedTimes(left, times(right, basis, n), n), n, rank);
  }
  return basis;
}

/**
 * Makes the columns orthonormal, each against those before it. The subtraction is done twice, because one
 * pass leaves rounding errors.
 */
function orthonormal(x: Float64Array, n: number, r: number): Float64Array {
  let largest = 0;
  for (let c = 0; c < r; c++) {
    for (let again = 0; again < 2; again++) {
      for (let d = 0; d < c; d++) {
        let dot = 0;
        for (let i = 0; i < n; i++) dot += x[i * r + c]! * x[i * r + d]!;
        for (let i = 0; i < n; i++) x[i * r + c]! -= dot * x[i * r + d]!;
      }
    }
    let squared = 0;
    for (let i = 0; i < n; i++) squared += x[i * r + c]! ** 2;
    const norm = Math.sqrt(squared);
    largest = Math.max(largest, norm);
    const scale = norm > 1e-14 * largest && norm > 0 ? 1 / norm : 0;
    for (let i = 0; i < n; i++) x[i * r + c]! *= scale;
  }
  return x;
}
