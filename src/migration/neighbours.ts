/** Vectors f32[rows, D]. */
export interface Matrix {
  readonly data: Float32Array;
  /** Embedding size D. */
  readonly dimension: number;
}

/** Nearest rows of one query, best first. */
export interface Neighbours {
  readonly rows: readonly number[];
  /** Inner products, descending. */
  readonly scores: readonly number[];
}

/** Most rows whose neighbours are searched for. */
const QUERIES = 500;

/** Finds the k nearest documents of each of the first 500 queries, without the document of the query's own number. */
export function neighbours(queries: Matrix, documents: Matrix, k: number): Neighbours[] {
  const D = documents.dimension;
  const rows = documents.data.length / D;
  return Array.from({ length: Math.min(QUERIES, rows) }, (_, i) => {
    const scores = Float64Array.from({ length: rows }, (_, row) => {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += queries.data[i * D + d]! * documents.data[row * D + d]!;
      return sum;
    });
    const order = Array.from(scores.keys())
      .filter((row) => row !== i)
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, k);
    return { rows: order, scores: order.map((row) => scores[row]!) };
  });
}

/** Computes the mean share of the true neighbours that are among those found. */
export function neighbourOverlap(found: readonly Neighbours[], truth: readonly Neighbours[]): number {
  let [common, total] = [0, 0];
  for (const [i, { rows }] of truth.entries()) {
    const near = new Set(found[i]!.rows);
    for (const row of rows) if (near.has(row)) common += 1;
    total += rows.length;
  }
  return total === 0 ? 0 : common / total;
}
