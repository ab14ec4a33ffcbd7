import { Graph } from '../graph/graph.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, int32Words, int64Tensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { bestRowsOf } from '../search/best-rows.ts';
import { ShapeError } from '../util/errors.ts';
import { NONE } from '../util/vector-rows.ts';
import { KeptScores } from './kept-scores.ts';
import {
  BLOCK_ROWS,
  blockScoresGraph,
  blockSumsGraph,
  GROUP_BLOCKS,
  groupSumsGraph,
  keptScoresGraph,
  pairScoresGraph,
  tailGraph,
  topGraph,
} from './score-graphs.ts';
import { type BlockRun, type Cell, Picks } from './score-picks.ts';
import type { ScoreTable } from './score-table.ts';
import { logSumExp, notANumber } from './weights.ts';

export { BLOCK_ROWS };

/**
 * Maximum number of scores of a piece, and of numbers of its embeddings if they are copied from f16: 2 MiB
 * and 4 MiB, which stay in the processor's caches until they are summed. Half as much is a little faster on
 * an idle machine, but slower on a busy one, where threads wait for each other after each operation.
 */
const PIECE_SCORES = 2 ** 19;
const PIECE_NUMBERS = 2 ** 20;
/** Pieces per run of a program; each run waits for its threads once. */
const PIECES = 16;
/** Scores computed at once when searching for the largest: 8 MiB. */
const CHUNK_SCORES = 2 ** 21;
/** Numbers of embeddings gathered at once. */
const GATHERED_NUMBERS = 2 ** 22;

/** Settings of {@link TableScores}. */
export interface TableScoresOptions extends ComputeOptions {
  /** Maximum number of scores, B × C, that are kept instead of computed again. Default 2¹⁹, 2 MiB. */
  keptScores?: number;
}

/** Log-sum-exp of the scores of B queries over parts of the table; NaN if an embedding holds NaN. */
export interface ScoreSums {
  /** f32[B, blocks]: over the filled slots of each block of 128 slots. */
  readonly blocks: Float32Array;
  /** f32[B, groups]: over each group of 128 blocks. */
  readonly groups: Float32Array;
  /** Scores themselves, if the table is small. */
  readonly kept?: KeptScores;
  /**
   * Scores f32[128] of each wanted block, in the order wanted, if the table is not small; `MASKED_SCORE` for
   * empty slots.
   */
  readonly picked: readonly Float32Array[];
}

/**
 * Largest scores of B queries, best first: those of query b are at positions `[b * k, (b + 1) * k)` of both
 * arrays.
 */
export interface TopSlots {
  /** Slots per query. */
  readonly k: number;
  /** Slots, i32[B, k]; `NONE` if the table holds fewer. */
  readonly slots: Int32Array;
  /** Scores, f32[B, k], descending; `MASKED_SCORE` for `NONE`. */
  readonly scores: Float32Array;
}

/**
 * Scores queries against the embeddings of a score table:
 *
 *     s(b, n) = q_b · e_n            queries come multiplied by 1/τ
 *
 * The table is read in place, without a copy, in its state at the time of the call.
 *
 * For a large table the B × C scores never exist at once. They are computed piece by piece; only their
 * log-sum-exp over blocks of 128 slots, or the k largest, leaves the runtime. The scores of single blocks are
 * computed again for the queries that need them.
 */
export class TableScores {
  /** Table that queries are scored against. */
  readonly table: ScoreTable;
  private readonly keptScores: number;
  private readonly programs: ProgramCache;

  constructor(table: ScoreTable, options: TableScoresOptions = {}) {
    const { keptScores = 2 ** 19, ...compute } = options;
    this.table = table;
    this.programs = new ProgramCache(compute);
    this.keptScores = keptScores;
  }

  /** Number of blocks that hold a document. */
  get blocks(): number {
    return Math.ceil(this.table.filled / BLOCK_ROWS);
  }

  /**
   * Computes log Σ exp s(b, n) over the filled slots n of each block of 128 slots: f32[B, blocks].
   *
   * @param queries  f32[B, D]
   */
  async blockLogSumExp(queries: Float32Array): Promise<Float32Array> {
    return (await this.sums(queries)).blocks;
  }

  /**
   * Computes the log-sum-exp of the scores over blocks and groups of blocks.
   *
   * @param queries  f32[B, D]
   * @param wanted  blocks whose scores are copied on the way, at almost no cost
   * @throws ShapeError when `queries` is not a whole number of queries
   */
  async sums(queries: Float32Array, wanted: readonly Cell[] = []): Promise<ScoreSums> {
    const { table, blocks } = this;
    const q = this.queryTensor(queries);
    const B = q.dims[0]!;
    const whole = Math.floor(table.filled / BLOCK_ROWS);
    const isKept = B * table.filled <= this.keptScores;
    const sums = new Float32Array(B * blocks);
    const picks = new Picks(isKept ? [] : wanted);
    let wholeScores = none;
    let tailScores = none;
    if (isKept && whole > 0) {
      const program = await this.program('kept-scores', (graph) => keptScoresGraph(graph, table));
      const made = await program.run({ queries: q, ...this.pieces(0, whole, 1) });
      copyColumns(float32(made.sums), sums, { B, at: 0 });
      wholeScores = float32(made.scores);
    } else {
      for (const run of this.runs(B, whole)) {
        const { first, count, pieces } = run;
        const cells = picks.feeds(run);
        const isPicked = cells !== undefined;
        const program = await this.program(`block-sums-${pieces}${isPicked ? '-picked' : ''}`, (graph) =>
          blockSumsGraph(graph, table, { pieces, isPicked }),
        );
        const made = await program.run({ queries: q, ...this.pieces(first, count, pieces), ...cells });
        for (let i = 0; i < pieces; i++)
          copyColumns(float32(made[`sums/${i}`]), sums, { B, at: first + i * count });
        if (isPicked) picks.take(run, made);
      }
    }
    if (whole < blocks) {
      const program = await this.program('tail', (graph) => tailGraph(graph, table));
      const made = await program.run({ queries: q, rows: table.block(whole * BLOCK_ROWS, table.filled) });
      copyColumns(float32(made.sums), sums, { B, at: whole });
      tailScores = float32(made.scores);
    }
    const kept = new KeptScores(B, wholeScores, tailScores);
    if (!isKept) picks.takeTail(whole, (b) => kept.block(b, 0));
    return {
      blocks: sums,
      groups: await this.groupSums(sums, B),
      ...(isKept && { kept }),
      picked: picks.scores,
    };
  }

  /**
   * Computes all scores of some blocks, each for one query: f32[U, 128]; empty slots have `MASKED_SCORE`.
   *
   * @param queries  f32[B, D]
   * @param pairs.queryOf  query of each of the U pairs
   * @param pairs.blocks  block of each of the U pairs
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
   * Computes the scores of single pairs: f32[P]; `MASKED_SCORE` for the slot `NONE`.
   *
   * @param queries  f32[B, D]
   * @param pairs.queryOf  query of each of the P pairs
   * @param pairs.slots  slot of each of the P pairs
   * @param pairs.rows  f32[rows, D]: embeddings that `slots` refers to. Default those of the table
   */
  async pairScores(
    queries: Float32Array,
    pairs: { queryOf: ArrayLike<number>; slots: ArrayLike<number>; rows?: Float32Array<ArrayBuffer> },
  ): Promise<Float32Array> {
    const { table } = this;
    const { dimension } = table;
    const q = this.queryTensor(queries);
    const P = pairs.slots.length;
    const out = new Float32Array(P);
    const own = pairs.rows;
    const embeddings = own
      ? hostTensor('f32', [own.length / dimension, dimension], own)
      : table.block(0, table.rows);
    const storage = embeddings.dtype as 'f32' | 'f16';
    const atOnce = Math.max(1, Math.floor(GATHERED_NUMBERS / dimension));
    for (let start = 0; start < P; start += atOnce) {
      const program = await this.program(`pair-scores-${storage}`, (graph) =>
        pairScoresGraph(graph, { dimension, storage }),
      );
      const { scores } = await program.run({
        queries: q,
        table: embeddings,
        queryOf: integers(pairs.queryOf, start, atOnce),
        slots: integers(pairs.slots, start, atOnce, (slot) => Math.max(0, slot)),
      });
      out.set(float32(scores), start);
    }
    for (let i = 0; i < P; i++) if (pairs.slots[i] === NONE) out[i] = MASKED_SCORE;
    return out;
  }

  /**
   * Finds the k filled slots of largest score for each query; equal scores are ordered by ascending slot.
   *
   * @param queries  f32[B, D]
   * @throws UndriftError when a score is not a number
   */
  async top(queries: Float32Array, k: number): Promise<TopSlots> {
    const { table } = this;
    const q = this.queryTensor(queries);
    const B = q.dims[0]!;
    const result = {
      k,
      slots: new Int32Array(B * k).fill(NONE),
      scores: new Float32Array(B * k).fill(MASKED_SCORE),
    };
    const best = bestRowsOf({ rows: result.slots, scores: result.scores, k }, { notANumber });
    const rows = Math.max(k, this.chunkRows(B));
    for (let start = 0; start < table.filled; start += rows) {
      const end = Math.min(table.filled, start + rows);
      const chunkK = Math.min(k, end - start);
      const program = await this.program(`top-${chunkK}`, (graph) => topGraph(graph, table, chunkK));
      const { scores, positions } = await program.run({ queries: q, block: table.block(start, end) });
      const words = int32Words(positions!.data as BigInt64Array);
      for (const [b, list] of best.entries()) {
        list.merge(
          float32(scores).subarray(b * chunkK, (b + 1) * chunkK),
          (i) => start + words[2 * (b * chunkK + i)]!,
        );
      }
    }
    return result;
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  /**
   * Splits the complete blocks into runs of 16 pieces that stay in the caches, and the remaining blocks into
   * runs of one piece.
   */
  private *runs(B: number, whole: number): Iterable<BlockRun> {
    const { dimension, storage } = this.table;
    const numbers = storage === 'f32' ? Number.POSITIVE_INFINITY : PIECE_NUMBERS / dimension;
    const most = Math.max(1, Math.floor(Math.min(PIECE_SCORES / B, numbers) / BLOCK_ROWS));
    for (let first = 0; first < whole; ) {
      const left = whole - first;
      const each = Math.min(most, Math.floor(left / PIECES));
      // Many small pieces are avoided where a few large ones do.
      const isMany = each > 0 && 4 * each >= most;
      const [count, pieces] = isMany ? [each, PIECES] : [Math.min(most, left), 1];
      yield { first, count, pieces };
      first += count * pieces;
    }
  }

  /** Makes the inputs for `pieces` times `count` blocks, from block `first` on. */
  private pieces(first: number, count: number, pieces: number): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = { blocks: hostTensor('u8', [count], new Uint8Array(count)) };
    for (let i = 0; i < pieces; i++) {
      const start = (first + i * count) * BLOCK_ROWS;
      feeds[`piece/${i}`] = this.table.block(start, start + count * BLOCK_ROWS);
    }
    return feeds;
  }

  private async groupSums(sums: Float32Array, B: number): Promise<Float32Array> {
    const blocks = sums.length / B;
    const groups = Math.ceil(blocks / GROUP_BLOCKS);
    const out = new Float32Array(B * groups);
    // A few blocks are summed faster here than by running a program.
    const whole = groups > 1 ? Math.floor(blocks / GROUP_BLOCKS) : 0;
    if (whole > 0) {
      const program = await this.program('group-sums', groupSumsGraph);
      const made = await program.run({
        blockSums: hostTensor('f32', [B, blocks], sums as Float32Array<ArrayBuffer>),
        groups: hostTensor('u8', [whole], new Uint8Array(whole)),
      });
      copyColumns(float32(made.sums), out, { B, at: 0 });
    }
    for (let b = 0; whole < groups && b < B; b++) {
      const rest = sums.subarray(b * blocks + whole * GROUP_BLOCKS, (b + 1) * blocks);
      out[b * groups + whole] = logSumExp(rest);
    }
    return out;
  }

  /** Rows per chunk: the fewer the queries, the more rows. */
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
    return this.programs.get(name, () => {
      const graph = new Graph(name);
      build(graph);
      return graph;
    });
  }
}

/** Converts at most `most` values from `start` on to an i64 tensor. */
function integers(
  values: ArrayLike<number>,
  start: number,
  most: number,
  convert: (value: number) => number = (value) => value,
): HostTensor {
  const length = Math.min(most, values.length - start);
  return int64Tensor(Int32Array.from({ length }, (_, i) => convert(values[start + i]!)));
}

const none: Float32Array = new Float32Array(0);

/** Copies f32[B, count] into f32[B, width], as columns from `at` on. */
function copyColumns(from: Float32Array, into: Float32Array, { B, at }: { B: number; at: number }): void {
  const [count, width] = [from.length / B, into.length / B];
  if (count === width) into.set(from);
  else if (count > 64)
    for (let b = 0; b < B; b++) into.set(from.subarray(b * count, (b + 1) * count), b * width + at);
  // A few numbers are copied faster one by one than by a call.
  else
    for (let b = 0; b < B; b++)
      for (let i = 0; i < count; i++) into[b * width + at + i] = from[b * count + i]!;
}
