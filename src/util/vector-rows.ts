/** Marks a slot without a document, or a document without a slot. */
export const NONE = -1;

/** Copies rows of a table f32[N, width] into a new array f32[rows.length, width]. */
export function pickRows(table: Float32Array, width: number, rows: Uint32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) out.set(table.subarray(row * width, (row + 1) * width), i * width);
  return out;
}

/**
 * Finds the place of each row in a list of distinct rows.
 *
 * @param list  distinct rows, each in [0, count)
 * @param count  number of rows there are
 * @returns i32[count]: index of each row in the list; `NONE` for rows that are not in it
 */
export function positionsIn(list: ArrayLike<number>, count: number): Int32Array {
  const positions = new Int32Array(count).fill(NONE);
  for (let i = 0; i < list.length; i++) positions[list[i]!] = i;
  return positions;
}

/** Computes Σ (a − b)² in JavaScript; meant for a few hundred rows. */
export function squaredDistance(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i]! - b[i]!) ** 2;
  return total;
}
