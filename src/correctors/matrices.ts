/**
 * @file Products of small row-major matrices in double precision, for the work that remains after the runtime
 *   has reduced all rows.
 */

/** Computes A B for A f64[n, m] and B f64[m, r]. */
export function times(a: Float64Array, b: Float64Array, m: number): Float64Array {
  const [n, r] = [a.length / m, b.length / m];
  const out = new Float64Array(n * r);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < m; k++) {
      const factor = a[i * m + k]!;
      for (let c = 0; c < r; c++) out[i * r + c]! += factor * b[k * r + c]!;
    }
  }
  return out;
}

/** Computes Aᵀ B for A f64[m, n] and B f64[m, r]. */
export function transposedTimes(a: Float64Array, b: Float64Array, m: number): Float64Array {
  const [n, r] = [a.length / m, b.length / m];
  const out = new Float64Array(n * r);
  for (let k = 0; k < m; k++) {
    for (let i = 0; i < n; i++) {
      const factor = a[k * n + i]!;
      for (let c = 0; c < r; c++) out[i * r + c]! += factor * b[k * r + c]!;
    }
  }
  return out;
}

/** Transposes a f64[rows, columns] matrix into f32[columns, rows]. */
export function transposed(matrix: Float64Array, rows: number): Float32Array<ArrayBuffer> {
  const columns = matrix.length / rows;
  const out = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j]!;
  return out;
}
