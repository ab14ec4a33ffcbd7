import { Graph } from '../graph/graph.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { type HostTensor, hostTensor, int32Words } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { ShapeError } from '../util/errors.ts';
import { permutation, randomInts, rngKey } from '../util/rng.ts';
import { nearestCellGraph } from './cell-graphs.ts';
import { CellPages } from './cell-pages.ts';
import { clusterMeans } from './cluster-means.ts';
import type { ScoreTable } from './score-table.ts';

/** Scores of rows with centroids computed at once: 8 MiB. */
const ASSIGNED_SCORES = 2 ** 21;
/** Cells for √N rows, and rows for a cell from which centroids are computed. */
const CELLS_PER_ROOT = 4;
const TRAINING_ROWS = 16;
const ITERATIONS = 5;

/** Settings of a {@link CellIndex}. */
export interface CellIndexOptions extends ComputeOptions {
  /** Seed of the rows that centroids are computed from. Default 0. */
  readonly seed?: number;
  /** Filled slots from which the table is indexed. Default 4096: of a smaller table all rows are scored as fast. */
  readonly leastRows?: number;
}

/**
 * Index of a score table: every filled slot is in the cell of its nearest centroid. There are 4 √N cells for N
 * filled slots. `IndexedDistribution` draws from the softmax over the table with it.
 *
 * `update` moves the slots that were written since the last call. It computes new centroids, by k-means over 16
 * random rows a cell, when as many rows were written as the index held, and when the table has doubled. Cells
 * and their order depend only on the writes between the calls, and on the seed.
 *
 * Cost of a write: one product with the centroids. Memory: 17 bytes a row, and 4 √N centroids.
 */
export class CellIndex {
  /** Table that is indexed. */
  readonly table: ScoreTable;
  private readonly programs: ProgramCache;
  private readonly seed: number;
  private readonly leastRows: number;
  /** 1 for each slot written since the last update. */
  private readonly written: Uint8Array;
  private isVoid = true;
  /** Number of builds, filled slots at the last build, and rows written since. */
  private builds = 0;
  private builtRows = 0;
  private writes = 0;
  private built: (Centroids & { readonly pages: CellPages }) | undefined;

  constructor(table: ScoreTable, options: CellIndexOptions = {}) {
    const { seed = 0, leastRows = 4096, ...compute } = options;
    this.table = table;
    this.seed = seed;
    this.leastRows = leastRows;
    this.programs = new ProgramCache(compute);
    this.written = new Uint8Array(table.rows);
    table.watch((slots) => {
      if (slots === 'all') this.isVoid = true;
      else for (let i = 0; i < slots.length; i++) this.written[slots[i]!] = 1;
    });
  }

  /**
   * Cells of the table; undefined until the table has `leastRows` filled slots.
   *
   * @internal
   */
  get cells(): { readonly centroids: HostTensor; readonly pages: CellPages } | undefined {
    if (!this.built) return undefined;
    const { centroids, pages } = this.built;
    return { centroids: this.centroidTensor(centroids), pages };
  }

  /** Memory of the index, in bytes. */
  get bytes(): number {
    return (
      this.written.byteLength + (this.built ? this.built.centroids.byteLength + this.built.pages.bytes : 0)
    );
  }

  /** Brings the index up to date with the table. */
  async update(): Promise<void> {
    const { table, written } = this;
    if (this.isVoid) {
      this.built = undefined;
      this.isVoid = false;
    }
    if (table.filled < this.leastRows) {
      this.built = undefined;
      return;
    }
    const slots = this.built ? this.takeWritten() : undefined;
    this.writes += slots?.length ?? 0;
    if (!slots || this.writes >= this.builtRows || table.filled >= 2 * this.builtRows) {
      await this.build();
      written.fill(0);
      return;
    }
    if (slots.length > 0) await this.place(slots);
  }

  /** Returns the whole state, for a checkpoint. */
  state(): Record<string, HostTensor> {
    const { builds, builtRows, writes, built, table } = this;
    return {
      counts: hostTensor('i32', [3], Int32Array.of(builds, builtRows, writes)),
      ...(built &&
        !this.isVoid && {
          centroids: this.centroidTensor(built.centroids),
          cellOf: hostTensor('i32', [table.rows], built.pages.cellOf),
          placeOf: hostTensor('i32', [table.rows], built.pages.placeOf),
        }),
    };
  }

  /**
   * Restores a state that `state` returned. The table must be restored before.
   *
   * @throws ShapeError when the state is of another table
   */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const { table } = this;
    const { counts, centroids, cellOf, placeOf } = state;
    if (counts?.data.length !== 3) {
      throw new ShapeError('the checkpoint holds no search index of the cache', {
        help: 'it was written by a run that scored the whole cache',
      });
    }
    [this.builds, this.builtRows, this.writes] = Array.from(counts.data, Number) as [number, number, number];
    this.built = undefined;
    this.written.fill(0);
    this.isVoid = false;
    if (!centroids || !cellOf || !placeOf) return;
    const cells = centroids.data.length / table.dimension;
    if (!Number.isInteger(cells)) throw new ShapeError('the stored search index has another embedding size');
    const pages = new CellPages(table.rows, cells);
    pages.restore(cellOf.data as Int32Array, placeOf.data as Int32Array);
    this.built = { ...centroidsOf(Float32Array.from(centroids.data as Float32Array), cells), pages };
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  /**
   * Returns the program of a graph over this table.
   *
   * @internal
   */
  program(name: string, build: (graph: Graph, table: ScoreTable) => void): Promise<Program> {
    return this.programs.get(name, () => {
      const graph = new Graph(`cells/${name}`);
      build(graph, this.table);
      return graph;
    });
  }

  private centroidTensor(centroids: Float32Array): HostTensor {
    const { dimension } = this.table;
    return hostTensor(
      'f32',
      [centroids.length / dimension, dimension],
      centroids as Float32Array<ArrayBuffer>,
    );
  }

  /** Returns the slots written since the last call, ascending. */
  private takeWritten(): Int32Array {
    const { written } = this;
    const slots: number[] = [];
    for (let slot = written.indexOf(1); slot >= 0; slot = written.indexOf(1, slot + 1)) {
      slots.push(slot);
      written[slot] = 0;
    }
    return Int32Array.from(slots);
  }

  /** Computes new centroids and puts every filled slot into a cell. */
  private async build(): Promise<void> {
    const { table } = this;
    const { filled, dimension: D } = table;
    const count = Math.max(
      1,
      Math.min(Math.round(CELLS_PER_ROOT * Math.sqrt(filled)), Math.floor(filled / 2)),
    );
    const key = rngKey(this.seed, this.builds, 'cells');
    const wanted = Math.min(filled, TRAINING_ROWS * count);
    const picked = new Int32Array(wanted);
    if (2 * wanted >= filled) picked.set(permutation(key, filled).subarray(0, wanted));
    else randomInts(key, filled, picked);
    const rows = table.read(picked);
    // The first rows are random rows themselves.
    let found = centroidsOf(rows.slice(0, count * D), count);
    for (let i = 0; i < ITERATIONS; i++) {
      const nearest = await this.nearest(hostTensor('f32', [picked.length, D], rows), found);
      found = centroidsOf(clusterMeans(rows, nearest, found.centroids), count);
    }
    const pages = new CellPages(table.rows, count);
    const nearest = await this.nearest(table.block(0, filled), found);
    for (let slot = 0; slot < filled; slot++) pages.move(slot, nearest[slot]!);
    this.built = { ...found, pages };
    this.builds += 1;
    this.builtRows = filled;
    this.writes = 0;
  }

  /** Moves slots to the cells of their embeddings. */
  private async place(slots: Int32Array): Promise<void> {
    const { table } = this;
    const built = this.built!;
    const rows = hostTensor('f32', [slots.length, table.dimension], table.read(slots));
    const nearest = await this.nearest(rows, built);
    for (const [i, slot] of slots.entries()) built.pages.move(slot, nearest[i]!);
  }

  /** Finds the nearest centroid of each row: i32[rows]. */
  private async nearest(rows: HostTensor, { centroids, offsets }: Centroids): Promise<Int32Array> {
    const { dimension: D } = this.table;
    const { dtype, data } = rows;
    const count = rows.dims[0]!;
    const found = new Int32Array(count);
    const shape = { dimension: D, storage: dtype as 'f32' | 'f16' };
    const program = await this.programs.get(`nearest-${dtype}`, () => {
      const graph = new Graph(`cells/nearest-${dtype}`);
      nearestCellGraph(graph, shape);
      return graph;
    });
    const atOnce = Math.max(64, Math.floor(ASSIGNED_SCORES / offsets.length));
    for (let start = 0; start < count; start += atOnce) {
      const end = Math.min(count, start + atOnce);
      const made = await program.run({
        rows: hostTensor(dtype, [end - start, D], data.subarray(start * D, end * D)),
        centroids: this.centroidTensor(centroids),
        offsets: hostTensor('f32', [offsets.length], offsets),
      });
      const words = int32Words(made.cells!.data as BigInt64Array);
      for (let i = start; i < end; i++) found[i] = words[2 * (i - start)]!;
    }
    return found;
  }
}

/** Centroids of cells, f32[cells, D], and −½ |centroid|² of each, f32[cells]. */
interface Centroids {
  readonly centroids: Float32Array<ArrayBuffer>;
  readonly offsets: Float32Array<ArrayBuffer>;
}

function centroidsOf(centroids: Float32Array<ArrayBuffer>, cells: number): Centroids {
  const D = centroids.length / cells;
  const offsets = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    let square = 0;
    for (let i = cell * D; i < (cell + 1) * D; i++) square += centroids[i]! ** 2;
    offsets[cell] = -0.5 * square;
  }
  return { centroids, offsets };
}
