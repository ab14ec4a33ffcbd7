import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { BLOCK_ROWS } from './score-graphs.ts';

/** Block of a table together with the index b of a query. */
export interface Cell {
  /** Index of the query. */
  readonly b: number;
  /** Index of the block. */
  readonly block: number;
}

/**
 * Blocks [first, first + pieces · count) of a table, which one run of a program scores in pieces of `count`
 * blocks.
 */
export interface BlockRun {
  /** First block. */
  readonly first: number;
  /** Blocks per piece. */
  readonly count: number;
  /** Number of pieces. */
  readonly pieces: number;
}

/** Collects the scores of chosen blocks while a table is scored: which blocks each run computes, and their scores. */
export class Picks {
  /** Scores f32[128] of each cell, by the cell's index. */
  readonly scores: Float32Array[];
  private readonly cells: readonly Cell[];
  /** Indices of the cells of each block. */
  private readonly byBlock = new Map<number, number[]>();

  constructor(cells: readonly Cell[]) {
    this.cells = cells;
    this.scores = new Array<Float32Array>(cells.length);
    for (const [place, { block }] of cells.entries()) {
      const places = this.byBlock.get(block);
      if (places) places.push(place);
      else this.byBlock.set(block, [place]);
    }
  }

  /** Makes the inputs `cells/i` of a run; undefined if none of its blocks is wanted. */
  feeds({ first, count, pieces }: BlockRun): Record<string, HostTensor> | undefined {
    const feeds: Record<string, HostTensor> = {};
    let isAny = false;
    for (let i = 0; i < pieces; i++) {
      const start = first + i * count;
      const rows = this.places(start, count).map((place) => {
        const { b, block } = this.cells[place]!;
        return BigInt(b * count + block - start);
      });
      isAny ||= rows.length > 0;
      // A piece without wanted blocks asks for its first block, which nobody reads.
      const given = BigInt64Array.from(rows.length > 0 ? rows : [0n]);
      feeds[`cells/${i}`] = hostTensor('i64', [given.length], given);
    }
    return isAny ? feeds : undefined;
  }

  /** Stores the outputs `picked/i` of a run. */
  take({ first, count, pieces }: BlockRun, made: Readonly<Record<string, HostTensor>>): void {
    for (let i = 0; i < pieces; i++) {
      const picked = float32(made[`picked/${i}`]);
      for (const [row, place] of this.places(first + i * count, count).entries()) {
        this.scores[place] = picked.subarray(row * BLOCK_ROWS, (row + 1) * BLOCK_ROWS);
      }
    }
  }

  /** Stores the scores of the last, incomplete block. */
  takeTail(block: number, scoresOf: (b: number) => Float32Array): void {
    for (const place of this.places(block, 1)) this.scores[place] = scoresOf(this.cells[place]!.b);
  }

  private places(first: number, count: number): number[] {
    const found: number[] = [];
    for (let block = first; block < first + count; block++) {
      for (const place of this.byBlock.get(block) ?? []) found.push(place);
    }
    return found;
  }
}
