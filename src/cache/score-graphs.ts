import { type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import {
  add,
  cast,
  dimSize,
  gather,
  logSoftmax,
  matmul,
  minimum,
  mul,
  range,
  reshape,
  slice,
  sub,
  sum,
  topK,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ScoreTable } from './score-table.ts';

/**
 * Slots per block, whose scores are summed together. Smaller blocks mean more sums to draw from; larger ones,
 * longer lists within a block.
 */
export const BLOCK_ROWS = 128;
/** Blocks per group, whose sums are summed together again, for the same reason. */
export const GROUP_BLOCKS = 128;

/** Properties of a table that the graphs depend on. */
export type TableShape = Pick<ScoreTable, 'dimension' | 'storage'>;

/** Declares the input queries f32[queries, D]. */
export const declareQueries = (graph: Graph, { dimension }: TableShape): Tensor =>
  graph.input('queries', 'f32', ['queries', dimension]);

/** Declares rows of the table as an input, in the dtype of their storage. */
export const declareRows = (
  graph: Graph,
  { dimension, storage }: TableShape,
  name: string,
  rows: Dim,
): Tensor => graph.input(name, storage, [rows, dimension]);

/**
 * Declares a dummy input that tells the runtime the size of a dimension when no other input has that
 * dimension alone.
 */
export const declareCount = (graph: Graph, name: string): Tensor => graph.input(name, 'u8', [name]);

/**
 * Computes the log-sum-exp over the last axis of x, from its first element x_0:
 *
 *     log Σ exp(x) = x_0 − logSoftmax(x)_0
 *
 * Log-softmax is the fastest operator of the runtime for these exponentials. The runtime's own log-sum-exp
 * takes as long as the matrix product before it.
 */
export function logSumExpOfRows(x: Tensor, first: Tensor = firstOfRows(x)): Tensor {
  return sub(first, firstOfRows(logSoftmax(x)));
}

/** Takes the first element of the last axis: [..., m] → [...]. */
const firstOfRows = (x: Tensor): Tensor =>
  gather(x, x.graph.constant('i64', [], BigInt64Array.of(0n)), { axis: x.rank - 1 });

/**
 * Builds the graph that scores pieces of a table and sums them by block.
 *
 * Output `sums/i` f32[queries, blocks]: log-sum-exp over the blocks of 128 rows of piece i. Each piece is an
 * input `piece/i` of `blocks` blocks, and one run goes through many pieces. Each piece has outputs of its
 * own, because the runtime walks a graph output by output: a piece is finished before the next begins, so its
 * scores stay in the processor's caches.
 *
 * With `isPicked`, also output `picked/i` f32[cells, 128]: the scores of some blocks of piece i, each for one
 * query. Input `cells/i` i64[cells] holds query · blocks + block, with the block counted within the piece.
 */
export function blockSumsGraph(
  graph: Graph,
  table: TableShape,
  { pieces, isPicked }: { pieces: number; isPicked: boolean },
): void {
  declareCount(graph, 'blocks');
  const queries = declareQueries(graph, table);
  const firsts = mul(range(graph, 'blocks'), BLOCK_ROWS);
  for (let i = 0; i < pieces; i++) {
    const rows = declareRows(graph, table, `piece/${i}`, multiplyDims('blocks', BLOCK_ROWS));
    const scores = matmul(queries, cast(rows, 'f32'), { transB: true });
    if (isPicked) {
      const cells = graph.input(`cells/${i}`, 'i64', [`cells${i}`]);
      const byBlock = reshape(scores, [multiplyDims('queries', 'blocks'), BLOCK_ROWS]);
      graph.output(`picked/${i}`, gather(byBlock, cells));
    }
    // The first score of each block is computed again: one product in 128, faster than picking it out of
    // memory.
    const first = matmul(queries, cast(gather(rows, firsts), 'f32'), { transB: true });
    graph.output(`sums/${i}`, logSumExpOfRows(reshape(scores, ['queries', 'blocks', BLOCK_ROWS]), first));
  }
}

/** Builds the graph of one piece of `blockSumsGraph` that also outputs `scores` f32[queries, blocks · 128]. */
export function keptScoresGraph(graph: Graph, table: TableShape): void {
  declareCount(graph, 'blocks');
  const queries = declareQueries(graph, table);
  const rows = declareRows(graph, table, 'piece/0', multiplyDims('blocks', BLOCK_ROWS));
  const scores = matmul(queries, cast(rows, 'f32'), { transB: true });
  graph.output('scores', scores);
  graph.output('sums', logSumExpOfRows(reshape(scores, ['queries', 'blocks', BLOCK_ROWS])));
}

/** Builds the graph of an incomplete block: `sums` f32[queries, 1] and `scores` f32[queries, rows]. */
export function tailGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const scores = matmul(queries, cast(declareRows(graph, table, 'rows', 'rows'), 'f32'), { transB: true });
  graph.output('scores', scores);
  graph.output('sums', unsqueeze(logSumExpOfRows(scores), 1));
}

/**
 * Builds the graph of the group sums: `sums` f32[queries, groups], the log-sum-exp over each complete group
 * of 128 blocks of `blockSums` f32[queries, blocks].
 */
export function groupSumsGraph(graph: Graph): void {
  declareCount(graph, 'groups');
  const blockSums = graph.input('blockSums', 'f32', ['queries', 'blocks']);
  const whole = slice(blockSums, { axis: 1, length: multiplyDims('groups', GROUP_BLOCKS) });
  graph.output('sums', logSumExpOfRows(reshape(whole, ['queries', 'groups', GROUP_BLOCKS])));
}

/**
 * Builds the graph of single blocks: `scores` f32[pairs, 128], each pair one query and one block. Rows past
 * the end repeat the last row.
 */
export function blockScoresGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const block = graph.input('block', 'i64', ['pairs']);
  const first = mul(unsqueeze(block, 1), BLOCK_ROWS);
  const last = sub(dimSize(graph, 'rows', 'i64'), 1);
  const rows = minimum(add(first, range(graph, BLOCK_ROWS)), last);
  const gathered = cast(gather(embeddings, rows), 'f32');
  // Queries are columns here: as rows, the same product takes twice the time.
  const scores = matmul(gathered, unsqueeze(gather(queries, queryOf), 2));
  graph.output('scores', reshape(scores, ['pairs', BLOCK_ROWS]));
}

/** Builds the graph of single slots: `scores` f32[pairs], each pair one query and one slot. */
export function pairScoresGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const slots = graph.input('slots', 'i64', ['pairs']);
  const rows = cast(gather(embeddings, slots), 'f32');
  graph.output('scores', sum(mul(gather(queries, queryOf), rows), { axes: 1 }));
}

/**
 * Builds the graph of the k largest scores: `scores` f32[queries, k] and the `positions` of their rows,
 * i64[queries, k].
 */
export function topGraph(graph: Graph, table: TableShape, k: number): void {
  const queries = declareQueries(graph, table);
  const rows = declareRows(graph, table, 'block', 'rows');
  const best = topK(matmul(queries, cast(rows, 'f32'), { transB: true }), { k });
  graph.output('scores', best.values);
  graph.output('positions', best.indices);
}
