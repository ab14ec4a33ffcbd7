/** Copies rows of a table f32[N, width] into a new array f32[rows.length, width]. */
export function pickRows(table: Float32Array, width: number, rows: Uint32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) out.set(table.subarray(row * width, (row + 1) * width), i * width);
  return out;
}
