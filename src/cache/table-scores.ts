import { type Dim, multiplyDims } from '../graph/dims.ts';
import { Graph } from '../graph/graph.ts';
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
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError, UndriftError } from '../util/errors.ts';
import { MASKED_SCORE } from './masks.ts';
import { NONE, type ScoreTable } from './score-table.ts';

/** Slots whose scores are summed up together. Fewer would make more sums to draw from; more, longer lists to draw inside. */
export const BLOCK_ROWS = 128;
/** Scores made at once: 8 MiB. Fewer stay closer to the processor, but every run of a program waits for its threads. */
const CHUNK_SCORES = 2 ** 21;
/** Numbers of gathered embeddings at once, for the same reason. */
const GATHERED_NUMBERS = 2 ** 22;

/** The largest scores of B queries, best first: query b owns `[b * k, (b + 1) * k)` of both arrays. */
export interface TopSlots {
  readonly k: number;
  /** i32[B, k]; `NONE` where the table holds fewer. */
  readonly slots: Int32Array;
  /** f32[B, k], descending; `MASKED_SCORE` where there is none. */
  readonly scores: Float32Array;
}

/**
 * Scores of queries against the embeddings of a score table, which is read where it lies, without a copy and as it is at the
 * time of the call:
 *
 *     s(b, n) = q_b · e_n            queries come multiplied by 1/τ
 *
 * B × C scores never exist at once. They are made chunk by chunk, and what leaves the runtime is their log-sum-exp over blocks
 * of 128 slots, or the k largest; the scores of single blocks are then made again for those queries that ask for them.
 */
export class TableScores {
  readonly table: ScoreTable;
  private readonly compute: ComputeOptions;
  private readonly programs = new Map<string, Promise<Program>>();

  constructor(table: ScoreTable, compute: ComputeOptions = {}) {
    this.table = table;
    this.compute = compute;
  }

  /** Blocks that hold a document. */
  get blocks(): number {
    return Math.ceil(this.table.filled / BLOCK_ROWS);
  }

  /**
   * f32[B, blocks]: log Σ exp s(b, n) over the filled slots n of each block of 128; NaN where an embedding is.
   * @param queries  f32[B, D]
   */
  async blockLogSumExp(queries: Float32Array): Promise<Float32Array> {
    const { table, blocks } = this;
    const q = this.queryTensor(queries);
    const B = q.dims[0]!;
    const out = new Float32Array(B * blocks);
    const whole = Math.floor(table.filled / BLOCK_ROWS);
    const chunk = Math.max(1, Math.floor(this.chunkRows(B) / BLOCK_ROWS));
    for (let first = 0; first < whole; first += chunk) {
      const count = Math.min(chunk, whole - first);
      const program = await this.program('block-log-sum-exp', (graph) =>
        blockLogSumExpGraph(graph, table, 'blocks', BLOCK_ROWS),
      );
      const { sums } = await program.run({
        queries: q,
        block: table.block(first * BLOCK_ROWS, (first + count) * BLOCK_ROWS),
        // Tells the runtime how many blocks the rows are.
        blocks: hostTensor('u8', [count], new Uint8Array(count)),
      });
      copyColumns(float32(sums), count, out, blocks, first);
    }
    if (whole < blocks) {
      const program = await this.program('tail-log-sum-exp', (graph) =>
        blockLogSumExpGraph(graph, table, 1, 'rows'),
      );
      const block = table.block(whole * BLOCK_ROWS, table.filled);
      const { sums } = await program.run({ queries: q, block });
      copyColumns(float32(sums), 1, out, blocks, whole);
    }
    return out;
  }

  /**
   * f32[U, 128]: all scores of some blocks, each for one query; slots that hold nothing score `MASKED_SCORE`.
   * @param pairs.queryOf  U queries;  @param pairs.blocks  U blocks
   */
  async blockScores(
    queries: Float32Array,
    pairs: { queryOf: ArrayLike<number>; blocks: ArrayLike<number> },
  ): Promise<Float32Array> {
    const { table } = this;
    const q = this.queryTensor(queries);
    const U = pairs.queryOf.length;
    const out = new Float32Array(U * BLOCK_ROWS);
    const atOnce = Math.max(1, Math.floor(GATHERED_NUMBERS / (BLOCK_ROWS * table.dimension)));
    for (let start = 0; start < U; start += atOnce) {
      const program = await this.program('block-scores', (graph) => blockScoresGraph(graph, table));
      const { scores } = await program.run({
        queries: q,
        table: table.block(0, table.rows),
        queryOf: integers(pairs.queryOf, start, atOnce),
        block: integers(pairs.blocks, start, atOnce),
      });
      out.set(float32(scores), start * BLOCK_ROWS);
    }
    const last = this.blocks - 1;
    const held = table.filled - last * BLOCK_ROWS;
    for (let u = 0; u < U; u++)
      if (pairs.blocks[u] === last) out.fill(MASKED_SCORE, u * BLOCK_ROWS + held, (u + 1) * BLOCK_ROWS);
    return out;
  }

  /**
   * f32[P]: the scores of single pairs; `MASKED_SCORE` where the slot is `NONE`.
   * @param pairs.queryOf  P queries;  @param pairs.slots  P slots
   */
  async pairScores(
    queries: Float32Array,
    pairs: { queryOf: ArrayLike<number>; slots: ArrayLike<number> },
  ): Promise<Float32Array> {
    const { table } = this;
    const q = this.queryTensor(queries);
    const P = pairs.slots.length;
    const out = new Float32Array(P);
    const atOnce = Math.max(1, Math.floor(GATHERED_NUMBERS / table.dimension));
    for (let start = 0; start < P; start += atOnce) {
      const program = await this.program('pair-scores', (graph) => pairScoresGraph(graph, table));
      const { scores } = await program.run({
        queries: q,
        table: table.block(0, table.rows),
        queryOf: integers(pairs.queryOf, start, atOnce),
        slots: integers(pairs.slots, start, atOnce, (slot) => Math.max(0, slot)),
      });
      out.set(float32(scores), start);
    }
    for (let i = 0; i < P; i++) if (pairs.slots[i] === NONE) out[i] = MASKED_SCORE;
    return out;
  }

  /** The k filled slots of largest score, equal scores by ascending slot. */
  async top(queries: Float32Array, k: number): Promise<TopSlots> {
    const { table } = this;
    const q = this.queryTensor(queries);
    const B = q.dims[0]!;
    const result = {
      k,
      slots: new Int32Array(B * k).fill(NONE),
      scores: new Float32Array(B * k).fill(MASKED_SCORE),
    };
    const rows = Math.max(k, this.chunkRows(B));
    for (let start = 0; start < table.filled; start += rows) {
      const end = Math.min(table.filled, start + rows);
      const chunkK = Math.min(k, end - start);
      const program = await this.program(`top-${chunkK}`, (graph) => topGraph(graph, table, chunkK));
      const { scores, positions } = await program.run({ queries: q, block: table.block(start, end) });
      // The low word of each i64, little-endian: a chunk has fewer than 2³¹ rows.
      const low = new Int32Array((positions!.data as BigInt64Array).buffer, positions!.data.byteOffset);
      for (let b = 0; b < B; b++) {
        mergeTop(
          {
            scores: result.scores.subarray(b * k, (b + 1) * k),
            slots: result.slots.subarray(b * k, (b + 1) * k),
          },
          float32(scores).subarray(b * chunkK, (b + 1) * chunkK),
          (i) => start + low[2 * (b * chunkK + i)]!,
        );
      }
    }
    return result;
  }

  async dispose(): Promise<void> {
    const programs = await Promise.all(this.programs.values());
    this.programs.clear();
    for (const program of programs) await program.dispose();
  }

  /** Rows of a chunk: few queries can afford many. */
  private chunkRows(B: number): number {
    return Math.min(65_536, Math.max(2_048, Math.floor(CHUNK_SCORES / B)));
  }

  private queryTensor(queries: Float32Array): HostTensor {
    const D = this.table.dimension;
    if (queries.length === 0 || queries.length % D !== 0) {
      throw new ShapeError(`${queries.length} numbers are no whole number of queries of dimension ${D}`);
    }
    return hostTensor('f32', [queries.length / D, D], queries as Float32Array<ArrayBuffer>);
  }

  private program(name: string, build: (graph: Graph) => void): Promise<Program> {
    let program = this.programs.get(name);
    if (!program) {
      const graph = new Graph(name);
      build(graph);
      program = Program.compile(graph, this.compute);
      this.programs.set(name, program);
    }
    return program;
  }
}

/** queries f32[B, D], and all or some rows of the table as f32. */
function declare(graph: Graph, { dimension, storage }: ScoreTable, name: string, rows: Dim) {
  const queries = graph.input('queries', 'f32', ['queries', dimension]);
  const embeddings = graph.input(name, storage, [rows, dimension]);
  return { queries, embeddings };
}

/**
 * sums f32[queries, blocks]: log-sum-exp of blocks of consecutive rows, by any row n of the block:
 *
 *     log Σ exp(s) = s_n − logSoftmax(s)_n
 *
 * Log-softmax is the fastest way through the exponentials that the runtime has: its own log-sum-exp takes as long as the matrix
 * product before it.
 */
function blockLogSumExpGraph(graph: Graph, table: ScoreTable, blocks: Dim, blockRows: Dim): void {
  if (typeof blocks === 'string') graph.input(blocks, 'u8', [blocks]);
  const { queries, embeddings } = declare(graph, table, 'block', multiplyDims(blocks, blockRows));
  const products = matmul(queries, cast(embeddings, 'f32'), { transB: true });
  const scores = reshape(products, ['queries', blocks, blockRows]);
  const first = (x: Tensor) => reshape(slice(x, { axis: 2, length: 1 }), ['queries', blocks]);
  graph.output('sums', sub(first(scores), first(logSoftmax(scores))));
}

/** scores f32[pairs, 128]: the rows of one block for one query each. Rows past the end repeat the last. */
function blockScoresGraph(graph: Graph, table: ScoreTable): void {
  const { queries, embeddings } = declare(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const block = graph.input('block', 'i64', ['pairs']);
  const first = mul(unsqueeze(block, 1), BLOCK_ROWS);
  const last = sub(dimSize(graph, 'rows', 'i64'), 1);
  const rows = minimum(add(first, range(graph, BLOCK_ROWS)), last);
  const gathered = cast(gather(embeddings, rows), 'f32');
  const scores = matmul(unsqueeze(gather(queries, queryOf), 1), gathered, { transB: true });
  graph.output('scores', reshape(scores, ['pairs', BLOCK_ROWS]));
}

/** scores f32[pairs] of one slot for one query each. */
function pairScoresGraph(graph: Graph, table: ScoreTable): void {
  const { queries, embeddings } = declare(graph, table, 'table', 'rows');
  const queryOf = graph.input('queryOf', 'i64', ['pairs']);
  const slots = graph.input('slots', 'i64', ['pairs']);
  const rows = cast(gather(embeddings, slots), 'f32');
  graph.output('scores', sum(mul(gather(queries, queryOf), rows), { axes: 1 }));
}

function topGraph(graph: Graph, table: ScoreTable, k: number): void {
  const { queries, embeddings } = declare(graph, table, 'block', 'rows');
  const best = topK(matmul(queries, cast(embeddings, 'f32'), { transB: true }), { k });
  graph.output('scores', best.values);
  graph.output('positions', best.indices);
}

/** i64 of at most `most` values from `start` on. */
function integers(
  values: ArrayLike<number>,
  start: number,
  most: number,
  convert: (value: number) => number = (value) => value,
): HostTensor {
  const length = Math.min(most, values.length - start);
  const data = new BigInt64Array(length);
  for (let i = 0; i < length; i++) data[i] = BigInt(convert(values[start + i]!));
  return hostTensor('i64', [length], data);
}

/** Puts [B, count] into columns `first` … of [B, width]. */
function copyColumns(
  from: Float32Array,
  count: number,
  into: Float32Array,
  width: number,
  first: number,
): void {
  for (let row = 0; row * count < from.length; row++) {
    into.set(from.subarray(row * count, (row + 1) * count), row * width + first);
  }
}

/** Merges a chunk's largest scores, descending, into a list of earlier slots'; of equal scores those from before come first. */
function mergeTop(
  list: { scores: Float32Array; slots: Int32Array },
  chunk: Float32Array,
  slotOf: (i: number) => number,
): void {
  if (Number.isNaN(chunk[0])) throw notANumber();
  const k = list.slots.length;
  const before = { scores: list.scores.slice(), slots: list.slots.slice() };
  for (let at = 0, old = 0, i = 0; at < k; at++) {
    const empty = before.slots[old] === NONE;
    if (i === chunk.length || (!empty && before.scores[old]! >= chunk[i]!)) {
      list.scores[at] = before.scores[old]!;
      list.slots[at] = before.slots[old++]!;
    } else {
      list.scores[at] = chunk[i]!;
      list.slots[at] = slotOf(i++);
    }
  }
}

export const notANumber = (): UndriftError =>
  new UndriftError('the score of a query with a cached embedding is not a number', {
    help: 'the training has diverged: lower the learning rate',
  });
