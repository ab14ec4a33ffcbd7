import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { BLOCK_ROWS } from './score-graphs.ts';

/** A block of a table and one of the queries. */
export interface Cell {
  readonly b: number;
  readonly block: number;
}

/** Blocks [first, first + pieces · count) of a table, which a run goes through in pieces of `count`. */
export interface BlockRun {
  readonly first: number;
  readonly count: number;
  readonly pieces: number;
}

/** Blocks whose scores are kept while a table is scored: which of them each run makes, and what it made. */
export class Picks {
  /** By place of the cell. */
  readonly scores: Float32Array[];
  private readonly cells: readonly Cell[];
  /** Places of cells by their block. */
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

  /** Inputs `cells/i` of a run; undefined where none of its blocks is asked for. */
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
      // A piece of which nothing is asked for gives its first block, to nobody.
      const given = BigInt64Array.from(rows.length > 0 ? rows : [0n]);
      feeds[`cells/${i}`] = hostTensor('i64', [given.length], given);
    }
    return isAny ? feeds : undefined;
  }

  /** Takes the outputs `picked/i` of a run. */
  take({ first, count, pieces }: BlockRun, made: Readonly<Record<string, HostTensor>>): void {
    for (let i = 0; i < pieces; i++) {
      const picked = float32(made[`picked/${i}`]);
      for (const [row, place] of this.places(first + i * count, count).entries()) {
        this.scores[place] = picked.subarray(row * BLOCK_ROWS, (row + 1) * BLOCK_ROWS);
      }
    }
  }

  /** Takes the scores of the block that is not whole. */
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
