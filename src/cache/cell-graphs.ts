import { multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import {
  add,
  argMax,
  cast,
  exp,
  gather,
  greater,
  less,
  log,
  logSumExp,
  matmul,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  range,
  reshape,
  scatter,
  sqrt,
  square,
  sub,
  sum,
  topK,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { PAGE_ROWS } from './cell-pages.ts';
import {
  declareCount,
  declareQueries,
  declareRows,
  logSumExpOfRows,
  type TableShape,
} from './score-graphs.ts';

/** Uniform rows whose hazards are summed together. */
export const HAZARD_BLOCK = 128;
/** Largest exponent of a weight relative to its bound. */
const LARGEST_EXPONENT = 80;

const declareCentroids = (graph: Graph, { dimension }: TableShape): Tensor =>
  graph.input('centroids', 'f32', ['cells', dimension]);

/**
 * Builds the graph that finds the nearest centroid of each row: `cells` i64[rows]. Input `offsets` f32[cells]
 * is −½ |centroid|².
 */
export function nearestCellGraph(graph: Graph, table: TableShape): void {
  const rows = declareRows(graph, table, 'rows', 'rows');
  const centroids = declareCentroids(graph, table);
  const offsets = graph.input('offsets', 'f32', ['cells']);
  graph.output('cells', argMax(add(matmul(cast(rows, 'f32'), centroids, { transB: true }), offsets)));
}

/**
 * Builds the graph that ranks the cells for each query by the score of their centroid.
 *
 * Outputs: `scores` f32[queries, k] and `ranked` i64[queries, k], the k best cells; `width` f32[queries], the
 * root mean square of  row score − centroid score  over the pilot rows; `pilot` f32[queries], the log-sum-exp
 * of the scores of the pilot rows.
 */
export function rankCellsGraph(graph: Graph, table: TableShape, k: number): void {
  const queries = declareQueries(graph, table);
  const centroids = declareCentroids(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const pilotRows = graph.input('pilotRows', 'i64', ['pilot']);
  const pilotCells = graph.input('pilotCells', 'i64', ['pilot']);
  const scoreRows = (rows: Tensor) =>
    matmul(queries, cast(gather(embeddings, rows), 'f32'), { transB: true });
  const pilot = scoreRows(pilotRows);
  const around = matmul(queries, gather(centroids, pilotCells), { transB: true });
  graph.output('width', sqrt(mean(square(sub(pilot, around)), { axes: 1 })));
  graph.output('pilot', logSumExp(pilot, { axes: 1 }));
  const best = topK(matmul(queries, centroids, { transB: true }), { k });
  graph.output('scores', best.values);
  graph.output('ranked', best.indices);
}

/**
 * Builds the graph that scores pages, each for one query: `scores` f32[pairs, 64], `MASKED_SCORE` from
 * position `lengths` on, and `sums` f32[pairs], their log-sum-exp.
 */
export function pageScoresGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const slots = graph.input('slots', 'i64', ['pages', PAGE_ROWS]);
  const page = graph.input('page', 'i64', ['pairs']);
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const lengths = graph.input('lengths', 'i64', ['pairs']);
  const rows = cast(gather(embeddings, gather(slots, page)), 'f32');
  const products = reshape(matmul(rows, unsqueeze(gather(queries, queryOf), 2)), ['pairs', PAGE_ROWS]);
  const scores = where(less(range(graph, PAGE_ROWS), unsqueeze(lengths, 1)), products, MASKED_SCORE);
  graph.output('scores', scores);
  graph.output('sums', logSumExpOfRows(scores));
}

/**
 * Builds the graph of uniform rows as candidates of all queries, for rejection against a bound. With
 *
 *     w = exp(score − bound), 0 for a row of a probed cell       α = min(1, w)
 *
 * the outputs are `hazards` f32[uniform, queries], −log(1 − α); `sums`, their sums over blocks of 128 rows;
 * `weights` f32[queries], Σ w; and `excess` f32[queries], Σ (w − α).
 *
 * A cell is probed by a query if the score of its centroid is above `cut`. With `isMasked`, input `masked`
 * i64[masked] lists cells row · queries + query of weight 0.
 */
export function uniformRowsGraph(graph: Graph, table: TableShape, { isMasked }: { isMasked: boolean }): void {
  declareCount(graph, 'blocks');
  const count = multiplyDims('blocks', HAZARD_BLOCK);
  const queries = declareQueries(graph, table);
  const centroids = declareCentroids(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const rows = graph.input('uniformRows', 'i64', [count]);
  const cells = graph.input('uniformCells', 'i64', [count]);
  const cut = graph.input('cut', 'f32', ['queries']);
  const bound = graph.input('bound', 'f32', ['queries']);
  const scores = matmul(cast(gather(embeddings, rows), 'f32'), queries, { transB: true });
  const around = gather(matmul(centroids, queries, { transB: true }), cells);
  const relative = exp(minimum(sub(scores, bound), LARGEST_EXPONENT));
  let weights = where(greater(around, cut), 0, relative);
  if (isMasked) {
    const masked = graph.input('masked', 'i64', ['masked']);
    const flat = reshape(weights, [multiplyDims(count, 'queries')]);
    weights = reshape(scatter(flat, masked, mul(cast(masked, 'f32'), 0)), [count, 'queries']);
  }
  const accepted = minimum(weights, 1);
  // The series keeps the digits of small values.
  const series = mul(accepted, add(mul(accepted, add(mul(accepted, 1 / 3), 0.5)), 1));
  const direct = neg(log(maximum(sub(1, accepted), 1e-7)));
  const hazards = where(less(accepted, 0.01), series, direct);
  graph.output('hazards', hazards);
  graph.output('sums', sum(reshape(hazards, ['blocks', HAZARD_BLOCK, 'queries']), { axes: 1 }));
  graph.output('weights', sum(weights, { axes: 0 }));
  graph.output('excess', sum(sub(weights, accepted), { axes: 0 }));
}
