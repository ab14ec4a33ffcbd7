import { float32, hostTensor, int64Tensor } from '../runtime/host-tensor.ts';
import { type RngKey, randomInts } from '../util/rng.ts';
import { HAZARD_BLOCK, uniformRowsGraph } from './cell-graphs.ts';
import type { CellIndex } from './cell-index.ts';
import { type MaskedSlots, maskedSlots } from './masks.ts';

/** Settings of {@link uniformCandidates}. */
export interface UniformRequest {
  /** f32[queries, D], multiplied by 1/τ. */
  readonly queries: Float32Array;
  /** Queries whose candidates are scored. */
  readonly of: readonly number[];
  /** Score of centroids above which a query probes the cell, by query. */
  readonly cuts: Float64Array;
  /** Bound of the scores of the other rows, by query. */
  readonly bounds: Float64Array;
  readonly masked: MaskedSlots | undefined;
}

/**
 * Candidates that some queries share: uniform rows of the table, and for each query and row the hazard that the
 * row is accepted when its score is compared with the query's bound.
 */
export interface UniformCandidates {
  /** i32[count]: slots, drawn uniformly with replacement. */
  readonly slots: Int32Array;
  /** Column of each query in `hazards` and `blocks`. */
  readonly columnOf: ReadonlyMap<number, number>;
  /** Bounds of the scores, by query. */
  readonly bounds: Float64Array;
  /** f32[count, columns]: −log(1 − α), α the probability that the row is accepted. */
  readonly hazards: Float32Array;
  /** f32[count / 128, columns]: sums of the hazards of 128 rows. */
  readonly blocks: Float32Array;
  /** f32[columns]: Σ exp(score − bound) over rows of cells that are not probed. */
  readonly weights: Float32Array;
  /** f32[columns]: the part of `weights` above 1, by which rows are accepted too seldom. */
  readonly excess: Float32Array;
}

/**
 * Draws uniform candidates and scores them.
 *
 * @param count  number of candidates, a multiple of 128
 * @param first  index of the first candidate in the sequence of the key
 */
export async function uniformCandidates(
  index: CellIndex,
  request: UniformRequest,
  { count, first, key }: { count: number; first: number; key: RngKey },
): Promise<UniformCandidates> {
  const { table } = index;
  const { centroids, pages } = index.cells!;
  const { queries, of, cuts, bounds } = request;
  const D = table.dimension;
  const slots = new Int32Array(count);
  randomInts(key, table.filled, slots, first);
  const own = new Float32Array(of.length * D);
  for (const [i, b] of of.entries()) own.set(queries.subarray(b * D, (b + 1) * D), i * D);
  const masked = maskedCandidates(slots, request);
  const program = await index.program(`uniform-rows${masked ? '-masked' : ''}`, (graph) =>
    uniformRowsGraph(graph, table, { isMasked: masked !== undefined }),
  );
  const of32 = (values: Float64Array) =>
    hostTensor(
      'f32',
      [of.length],
      Float32Array.from(of, (b) => values[b]!),
    );
  const blocks = count / HAZARD_BLOCK;
  const made = await program.run({
    blocks: hostTensor('u8', [blocks], new Uint8Array(blocks)),
    queries: hostTensor('f32', [of.length, D], own),
    centroids,
    table: table.block(0, table.rows),
    uniformRows: int64Tensor(slots),
    uniformCells: int64Tensor(slots.map((slot) => pages.cellOf[slot]!)),
    cut: of32(cuts),
    bound: of32(bounds),
    ...(masked && { masked: int64Tensor(masked) }),
  });
  return {
    slots,
    bounds,
    columnOf: new Map(of.map((b, column) => [b, column])),
    hazards: float32(made.hazards),
    blocks: float32(made.sums),
    weights: float32(made.weights),
    excess: float32(made.excess),
  };
}

/** Lists the cells row · columns + column of candidates that a query masks; undefined if there are none. */
function maskedCandidates(
  slots: Int32Array,
  { of, masked }: Pick<UniformRequest, 'of' | 'masked'>,
): Int32Array | undefined {
  if (!masked || masked.slots.length === 0) return undefined;
  const rowsOf = new Map<number, number[]>();
  for (const slot of masked.slots) rowsOf.set(slot, []);
  for (let i = 0; i < slots.length; i++) rowsOf.get(slots[i]!)?.push(i);
  const cells: number[] = [];
  for (const [column, b] of of.entries()) {
    for (const slot of maskedSlots(masked, b))
      for (const row of rowsOf.get(slot)!) cells.push(row * of.length + column);
  }
  return cells.length > 0 ? Int32Array.from(cells) : undefined;
}
