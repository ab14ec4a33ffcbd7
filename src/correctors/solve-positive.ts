import { UndriftError } from '../util/errors.ts';

/**
 * Solves  A X = B  for a symmetric positive definite A, by Cholesky factorisation in double precision. All
 * inner loops run along rows, four of them at a time.
 *
 * @param a  A, f64[n, n]; only the lower triangle is read
 * @param b  B, f64[n, m]
 * @returns X, f64[n, m]
 * @throws UndriftError when A is not positive definite
 */
export function solvePositive(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const lower = factorize(a, n);
  const m = b.length / n;
  const x = b.slice();
  const divide = (i: number): void => {
    const inverse = 1 / lower[i * n + i]!;
    for (let c = i * m; c < (i + 1) * m; c++) x[c]! *= inverse;
  };
  for (let i = 0; i < n; i++) {
    subtractRows(x, m, i, 0, i, (k) => lower[i * n + k]!);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    subtractRows(x, m, i, i + 1, n, (k) => lower[k * n + i]!);
    divide(i);
  }
  return x;
}

/** Computes L of A = L Lᵀ. Above the diagonal the result keeps the values of A. */
function factorize(a: Float64Array, n: number): Float64Array {
  const lower = a.slice();
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) lower[i * n + j] = remainder(lower, n, i, j) / lower[j * n + j]!;
    const pivot = remainder(lower, n, i, i);
    if (!(pivot > 0)) throw new UndriftError(`a matrix that should be positive definite is not, in row ${i}`);
    lower[i * n + i] = Math.sqrt(pivot);
  }
  return lower;
}

/**
 * Computes a_ij − Σ_{k < j} l_ik l_jk in four sums, since each addition to a single sum would wait for the
 * one before.
 */
function remainder(lower: Float64Array, n: number, i: number, j: number): number {
  const [p, q] = [i * n, j * n];
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let k = 0;
  for (; k + 3 < j; k += 4) {
    s0 += lower[p + k]! * lower[q + k]!;
    s1 += lower[p + k + 1]! * lower[q + k + 1]!;
    s2 += lower[p + k + 2]! * lower[q + k + 2]!;
    s3 += lower[p + k + 3]! * lower[q + k + 3]!;
  }
  for (; k < j; k++) s0 += lower[p + k]! * lower[q + k]!;
  return lower[p + j]! - (s0 + s1 + (s2 + s3));
}

/** Subtracts `factor(k)` times row k from row i of x, for each k from `from` to `end` − 1. */
function subtractRows(
  x: Float64Array,
  m: number,
  i: number,
  from: number,
  end: number,
  factor: (k: number) => number,
): void {
  const row = i * m;
  let k = from;
  for (; k + 3 < end; k += 4) {
    const [f0, f1, f2, f3] = [factor(k), factor(k + 1), factor(k + 2), factor(k + 3)];
    const at = k * m;
    for (let c = 0; c < m; c++) {
      x[row + c]! -=
        f0 * x[at + c]! + f1 * x[at + m + c]! + (f2 * x[at + 2 * m + c]! + f3 * x[at + 3 * m + c]!);
    }
  }
  for (; k < end; k++) {
    const f = factor(k);
    for (let c = 0; c < m; c++) x[row + c]! -= f * x[k * m + c]!;
  }
}
