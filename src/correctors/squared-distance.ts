/** Computes Σ (a − b)² in JavaScript; meant for a few hundred rows. */
export function squaredDistance(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i]! - b[i]!) ** 2;
  return total;
}
