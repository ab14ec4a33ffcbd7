import { afterEach, describe, expect, it } from 'vitest';
import { float32 } from '../runtime/host-tensor.ts';
import { ShapeError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { CellIndex } from './cell-index.ts';
import { clusterMeans } from './cluster-means.ts';
import { ScoreTable } from './score-table.ts';

const D = 6;
const ROWS = 600;
const open: CellIndex[] = [];
afterEach(async () => {
  for (const index of open.splice(0)) await index.dispose();
});

function rows(count: number, purpose: string): Float32Array {
  const values = new Float32Array(count * D);
  normal(rngKey(3, 0, purpose), values);
  return values;
}

const slotsFrom = (first: number, count: number) => Int32Array.from({ length: count }, (_, i) => first + i);

function makeTable(filled = ROWS, storage: 'f32' | 'f16' = 'f32'): ScoreTable {
  const table = new ScoreTable({ rows: ROWS, dimension: D, documents: 2 * ROWS, storage });
  if (filled > 0) table.insert(slotsFrom(0, filled), rows(filled, 'table'));
  return table;
}

function makeIndex(table: ScoreTable, seed = 1): CellIndex {
  const index = new CellIndex(table, { seed, leastRows: 100, threads: 1 });
  open.push(index);
  return index;
}

/** Slots whose cell is not that of their nearest centroid. */
function misplaced({ table, cells }: CellIndex): number[] {
  const { centroids, pages } = cells!;
  const c = float32(centroids);
  const wrong: number[] = [];
  for (let slot = 0; slot < table.rows; slot++) {
    if (slot >= table.filled) {
      if (pages.cellOf[slot] !== NONE) wrong.push(slot);
      continue;
    }
    const row = table.read([slot]);
    const distance = (cell: number) => row.reduce((sum, x, d) => sum + (x - c[cell * D + d]!) ** 2, 0);
    let nearest = 0;
    for (let cell = 1; cell < pages.cells; cell++) if (distance(cell) < distance(nearest)) nearest = cell;
    if (Math.abs(distance(nearest) - distance(pages.cellOf[slot]!)) > 1e-4) wrong.push(slot);
  }
  return wrong;
}

const copyOf = (state: ReturnType<CellIndex['state']>) =>
  Object.fromEntries(
    Object.entries(state).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]),
  );

describe('CellIndex', () => {
  it.each(['f32', 'f16'] as const)(
    'puts every filled slot into the cell of its nearest centroid, %s',
    async (storage) => {
      const index = makeIndex(makeTable(550, storage));
      await index.update();
      expect(index.cells!.pages.cells).toBe(Math.round(4 * Math.sqrt(550)));
      expect(misplaced(index)).toEqual([]);
    },
  );

  it('follows refreshed, inserted and evicted rows', async () => {
    const table = makeTable(550);
    const index = makeIndex(table);
    await index.update();
    const before = index.cells!.centroids;
    table.refresh(slotsFrom(40, 30), rows(30, 'fresh'));
    table.insert(slotsFrom(ROWS, 60), rows(60, 'new'));
    await index.update();
    expect(index.cells!.centroids.data).toEqual(before.data);
    expect(misplaced(index)).toEqual([]);
  });

  it('is built again when as many rows were written as it held, when the table doubled, and after a new fill', async () => {
    const table = makeTable(200);
    const index = makeIndex(table);
    await index.update();
    const cells = () => index.cells!.pages.cells;
    expect(cells()).toBe(Math.round(4 * Math.sqrt(200)));
    table.insert(slotsFrom(200, 190), rows(190, 'more'));
    await index.update();
    expect(cells()).toBe(Math.round(4 * Math.sqrt(200)));
    table.insert(slotsFrom(390, 20), rows(20, 'yet more'));
    await index.update();
    expect(cells()).toBe(Math.round(4 * Math.sqrt(410)));
    const [first] = index.state().centroids!.data;
    for (let part = 0; part < 2; part++) {
      table.refresh(slotsFrom(205 * part, 205), rows(205, `again/${part}`));
      await index.update();
      expect(index.state().centroids!.data[0] === first).toBe(part === 0);
    }
    table.fill(slotsFrom(0, 500), rows(500, 'filled'));
    await index.update();
    expect(cells()).toBe(Math.round(4 * Math.sqrt(500)));
    expect(misplaced(index)).toEqual([]);
  });

  it('leaves a small table alone', async () => {
    const table = makeTable(99);
    const index = makeIndex(table);
    await index.update();
    expect(index.cells).toBeUndefined();
    table.insert([99], rows(1, 'one'));
    await index.update();
    expect(misplaced(index)).toEqual([]);
    table.fill(slotsFrom(0, 50), rows(50, 'filled'));
    await index.update();
    expect(index.cells).toBeUndefined();
  });

  it('goes on from its state as if it had not stopped', async () => {
    const grow = async (index: CellIndex, from: number) => {
      for (let step = from; step < from + 4; step++) {
        index.table.refresh(slotsFrom(70 * step, 50), rows(50, `step/${step}`));
        await index.update();
      }
    };
    const whole = makeIndex(makeTable());
    await whole.update();
    await grow(whole, 0);
    const stored = { table: copyOf(whole.table.state()), index: copyOf(whole.state()) };
    const resumed = makeIndex(makeTable(0));
    resumed.table.restore(stored.table);
    resumed.restore(stored.index);
    for (const index of [whole, resumed]) await grow(index, 4);
    expect(resumed.state()).toEqual(whole.state());
    expect(resumed.cells!.pages.cellOf).toEqual(whole.cells!.pages.cellOf);
  });

  it('refuses a checkpoint without an index', () => {
    expect(() => makeIndex(makeTable()).restore({})).toThrow(ShapeError);
  });
});

describe('clusterMeans', () => {
  it('takes the mean of each cluster, and keeps a centroid without rows', () => {
    const means = clusterMeans(
      Float32Array.of(1, 2, 3, 6, 5, 5),
      Int32Array.of(0, 0, 2),
      Float32Array.of(0, 0, 7, 8, 0, 0),
    );
    expect([...means]).toEqual([2, 4, 7, 8, 5, 5]);
  });
});
