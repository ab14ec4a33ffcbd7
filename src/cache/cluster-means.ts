/**
 * Computes the mean of the rows of each cluster. A cluster without rows keeps its centroid.
 *
 * @param rows  f32[rows, D]
 * @param clusterOf  i32[rows]
 * @param centroids  f32[clusters, D]: centroids before
 * @returns  f32[clusters, D]
 */
export function clusterMeans(
  rows: Float32Array,
  clusterOf: Int32Array,
  centroids: Float32Array,
): Float32Array<ArrayBuffer> {
  const D = rows.length / clusterOf.length;
  const clusters = centroids.length / D;
  const sums = new Float64Array(centroids.length);
  const counts = new Int32Array(clusters);
  for (let n = 0; n < clusterOf.length; n++) {
    const into = clusterOf[n]! * D;
    const from = n * D;
    for (let i = 0; i < D; i++) sums[into + i]! += rows[from + i]!;
    counts[clusterOf[n]!]! += 1;
  }
  const means = new Float32Array(centroids);
  for (let cluster = 0; cluster < clusters; cluster++) {
    const count = counts[cluster]!;
    if (count === 0) continue;
    for (let i = cluster * D; i < (cluster + 1) * D; i++) means[i] = sums[i]! / count;
  }
  return means;
}
