import type { Dim } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { add, cast, gather, maximum, minimum, range, sub, transpose, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';

/** Buckets of the distances between tokens (Raffel et al. 2020, arXiv:1910.10683). */
export interface DistanceBuckets {
  /** Number of buckets. */
  readonly buckets: number;
  /** Distance from which on all tokens share a bucket. */
  readonly maxDistance: number;
  /** Whether keys after the query have buckets of their own, half of them. Otherwise they share that of distance 0. */
  readonly bidirectional: boolean;
}

/**
 * Returns the bucket of a key that stands `distance` tokens after its query. In each direction, half of the buckets hold one distance
 * each, and the others hold ranges that grow geometrically up to `maxDistance`.
 *
 * The logarithm is rounded to f32 at each step, as transformers computes it.
 */
export function distanceBucket(
  distance: number,
  { buckets, maxDistance, bidirectional }: DistanceBuckets,
): number {
  const count = bidirectional ? Math.floor(buckets / 2) : buckets;
  const start = bidirectional && distance > 0 ? count : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(count / 2);
  if (far < exact) return start + far;
  const { fround } = Math;
  const share = fround(fround(Math.log(fround(far / exact))) / fround(Math.log(maxDistance / exact)));
  return start + Math.min(exact + Math.floor(fround(share * (count - exact))), count - 1);
}

/**
 * Bias of each head for each pair of tokens of a text, by the bucket of their distance.
 *
 * Gradient: to `table`.
 *
 * @param table f32[buckets, H]
 * @param tokens number of tokens, T, whose positions are 0 … T − 1
 * @returns f32[1, H, T, T]
 */
export function relativeBias(table: Tensor, tokens: Dim, buckets: DistanceBuckets): Tensor {
  const places = cast(range(table.graph, tokens), 'f32');
  const distances = sub(unsqueeze(places, 0), unsqueeze(places, 1));
  return unsqueeze(transpose(gather(table, bucketsOf(table.graph, distances, buckets)), [2, 0, 1]), 0);
}

/**
 * Bias of each head for each pair of a query and a key, by their positions.
 *
 * Gradient: to `table`.
 *
 * @param table f32[buckets, H]
 * @param queries positions i64[B, T]
 * @param keys positions i64[B, K]
 * @returns f32[B, H, T, K]
 */
export function relativeBiasBetween(
  table: Tensor,
  { queries, keys }: { queries: Tensor; keys: Tensor },
  buckets: DistanceBuckets,
): Tensor {
  const distances = sub(unsqueeze(cast(keys, 'f32'), 1), unsqueeze(cast(queries, 'f32'), 2));
  return transpose(gather(table, bucketsOf(table.graph, distances, buckets)), [0, 3, 1, 2]);
}

/** Looks up the buckets of distances, f32 of any shape, in a table of all distances that differ. Returns i64. */
function bucketsOf(graph: Graph, distances: Tensor, buckets: DistanceBuckets): Tensor {
  const longest = buckets.maxDistance;
  const numbers = BigInt64Array.from({ length: 2 * longest + 1 }, (_, i) =>
    BigInt(distanceBucket(i - longest, buckets)),
  );
  const limited = maximum(minimum(distances, longest), -longest);
  return gather(graph.constant('i64', [numbers.length], numbers), cast(add(limited, longest), 'i64'));
}
