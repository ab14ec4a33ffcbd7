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

/** Slots whose scores are summed up together. Fewer would make more sums to draw from; more, longer lists to draw inside. */
export const BLOCK_ROWS = 128;
/** Blocks whose sums are summed up together again, for the same reason. */
export const GROUP_BLOCKS = 128;

/** What the graphs below need to know of a table. */
type TableShape = Pick<ScoreTable, 'dimension' | 'storage'>;

/** queries f32[queries, D] */
const declareQueries = (graph: Graph, { dimension }: TableShape): Tensor =>
  graph.input('queries', 'f32', ['queries', dimension]);

/** Rows of the table in the dtype that they are stored in. */
const declareRows = (graph: Graph, { dimension, storage }: TableShape, name: string, rows: Dim): Tensor =>
  graph.input(name, storage, [rows, dimension]);

/** Tells the runtime how many of something there are, where no other input has that dimension by itself. */
const declareCount = (graph: Graph, name: string): Tensor => graph.input(name, 'u8', [name]);

/**
 * sums f32[…, m]: log-sum-exp of the last axis of x, by its first element:
 *
 *     log Σ exp(x) = x_0 − logSoftmax(x)_0
 *
 * Log-softmax is the fastest way through the exponentials that the runtime has: its own log-sum-exp takes as long as the matrix
 * product before it.
 */
function logSumExpOfRows(x: Tensor, first: Tensor = firstOfRows(x)): Tensor {
  return sub(first, firstOfRows(logSoftmax(x)));
}

/** [..., m] → [...] */
const firstOfRows = (x: Tensor): Tensor =>
  gather(x, x.graph.constant('i64', [], BigInt64Array.of(0n)), { axis: x.rank - 1 });

/**
 * sums/i f32[queries, blocks]: log-sum-exp over blocks of 128 rows. Each piece is an input `piece/i` of `blocks` blocks, and is done
 * with before the next one begins, so that its scores need not leave the processor's caches; one run goes through many. What a
 * piece gives are outputs of its own: the runtime goes through a graph output by output.
 *
 * Where blocks are picked, also picked/i f32[cells, 128]: scores of some of the blocks of piece i, each for one query. The input
 * `cells/i` i64[cells] has query · blocks + block, block counted within the piece.
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
    // The first score of each block is made again: that is one product in 128, and picking it out of memory takes longer.
    const first = matmul(queries, cast(gather(rows, firsts), 'f32'), { transB: true });
    graph.output(`sums/${i}`, logSumExpOfRows(reshape(scores, ['queries', 'blocks', BLOCK_ROWS]), first));
  }
}

/** sums as of one piece of `blockSumsGraph`, and scores f32[queries, blocks · 128]. */
export function keptScoresGraph(graph: Graph, table: TableShape): void {
  declareCount(graph, 'blocks');
  const queries = declareQueries(graph, table);
  const rows = declareRows(graph, table, 'piece/0', multiplyDims('blocks', BLOCK_ROWS));
  const scores = matmul(queries, cast(rows, 'f32'), { transB: true });
  graph.output('scores', scores);
  graph.output('sums', logSumExpOfRows(reshape(scores, ['queries', 'blocks', BLOCK_ROWS])));
}

/** sums f32[queries, 1] and scores f32[queries, rows] of less than a block. */
export function tailGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const scores = matmul(queries, cast(declareRows(graph, table, 'rows', 'rows'), 'f32'), { transB: true });
  graph.output('scores', scores);
  graph.output('sums', unsqueeze(logSumExpOfRows(scores), 1));
}

/** sums f32[queries, groups]: log-sum-exp over groups of 128 of  blockSums f32[queries, blocks], as far as they are whole. */
export function groupSumsGraph(graph: Graph): void {
  declareCount(graph, 'groups');
  const blockSums = graph.input('blockSums', 'f32', ['queries', 'blocks']);
  const whole = slice(blockSums, { axis: 1, length: multiplyDims('groups', GROUP_BLOCKS) });
  graph.output('sums', logSumExpOfRows(reshape(whole, ['queries', 'groups', GROUP_BLOCKS])));
}

/** scores f32[pairs, 128]: the rows of one block for one query each. Rows past the end repeat the last. */
export function blockScoresGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const block = graph.input('block', 'i64', ['pairs']);
  const first = mul(unsqueeze(block, 1), BLOCK_ROWS);
  const last = sub(dimSize(graph, 'rows', 'i64'), 1);
  const rows = minimum(add(first, range(graph, BLOCK_ROWS)), last);
  const gathered = cast(gather(embeddings, rows), 'f32');
  // The queries as columns: as rows, the same product takes twice the time.
  const scores = matmul(gathered, unsqueeze(gather(queries, queryOf), 2));
  graph.output('scores', reshape(scores, ['pairs', BLOCK_ROWS]));
}

/** scores f32[pairs] of one slot for one query each. */
export function pairScoresGraph(graph: Graph, table: TableShape): void {
  const queries = declareQueries(graph, table);
  const embeddings = declareRows(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const slots = graph.input('slots', 'i64', ['pairs']);
  const rows = cast(gather(embeddings, slots), 'f32');
  graph.output('scores', sum(mul(gather(queries, queryOf), rows), { axes: 1 }));
}

/** The k largest scores f32[queries, k], and their rows' positions i64[queries, k]. */
export function topGraph(graph: Graph, table: TableShape, k: number): void {
  const queries = declareQueries(graph, table);
  const rows = declareRows(graph, table, 'block', 'rows');
  const best = topK(matmul(queries, cast(rows, 'f32'), { transB: true }), { k });
  graph.output('scores', best.values);
  graph.output('positions', best.indices);
}
