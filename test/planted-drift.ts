import { normal, rngKey } from '../src/util/rng.ts';

/** Draws normal numbers that depend only on the name. */
export function randomNumbers(count: number, name: string): Float32Array<ArrayBuffer> {
  const out = new Float32Array(count);
  normal(rngKey(11, 0, `planted/${name}`), out);
  return out;
}

/** Scales rows to unit length, in place. */
export function unit(rows: Float32Array<ArrayBuffer>, dimension: number): Float32Array<ArrayBuffer> {
  for (let start = 0; start < rows.length; start += dimension) {
    const row = rows.subarray(start, start + dimension);
    const norm = Math.hypot(...row);
    for (let i = 0; i < dimension; i++) row[i]! /= norm;
  }
  return rows;
}

/** Draws rows of unit length, f32[rows, dimension]. */
export const unitRows = (rows: number, dimension: number, name: string): Float32Array<ArrayBuffer> =>
  unit(randomNumbers(rows * dimension, name), dimension);

/** Maps each row and scales it to unit length. */
export function mapRows(
  rows: Float32Array,
  dimension: number,
  map: (row: Float32Array) => ArrayLike<number>,
): Float32Array<ArrayBuffer> {
  const mapped: number[] = [];
  let width = 0;
  for (let start = 0; start < rows.length; start += dimension) {
    const row = Array.from(map(rows.subarray(start, start + dimension)));
    width = row.length;
    mapped.push(...row);
  }
  return unit(Float32Array.from(mapped), width);
}

/** Multiplies a row-major matrix [n, m] by a vector. */
export function product(matrix: ArrayLike<number>, x: ArrayLike<number>): number[] {
  const rows = matrix.length / x.length;
  return Array.from({ length: rows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < x.length; j++) sum += matrix[i * x.length + j]! * x[j]!;
    return sum;
  });
}

/** Makes random orthonormal rows, f32[rows, columns]. At most `columns` rows are possible. */
export function orthogonal(rows: number, columns: number, name: string): Float32Array<ArrayBuffer> {
  const q = randomNumbers(rows * columns, name);
  for (let i = 0; i < rows; i++) {
    const row = q.subarray(i * columns, (i + 1) * columns);
    for (let again = 0; again < 2; again++) {
      for (let j = 0; j < i; j++) {
        const other = q.subarray(j * columns, (j + 1) * columns);
        const dot = row.reduce((sum, x, k) => sum + x * other[k]!, 0);
        for (let k = 0; k < columns; k++) row[k]! -= dot * other[k]!;
      }
    }
    unit(row, columns);
  }
  return q;
}
