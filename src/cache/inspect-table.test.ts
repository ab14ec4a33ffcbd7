import { describe, expect, it } from 'vitest';
import { ageHistogram, inspectTable } from './inspect-table.ts';
import { ScoreTable } from './score-table.ts';

describe('ageHistogram', () => {
  it('counts the filled slots by age', () => {
    const table = new ScoreTable({ rows: 10, dimension: 1, documents: 20 });
    for (let step = 0; step < 9; step++) {
      if (step < 7) table.insert([step], Float32Array.of(0));
      table.tick();
    }
    // Inserted in steps 1 … 7 of 9: ages 8, 7, 6, 5, 4, 3, 2.
    expect(ageHistogram(table)).toEqual([
      { from: 0, to: 0, slots: 0 },
      { from: 1, to: 1, slots: 0 },
      { from: 2, to: 3, slots: 2 },
      { from: 4, to: 7, slots: 4 },
      { from: 8, to: 15, slots: 1 },
    ]);
    table.refresh([0], Float32Array.of(1));
    table.tick();
    expect(ageHistogram(table)[0]).toEqual({ from: 0, to: 0, slots: 1 });
    expect(ageHistogram(new ScoreTable({ rows: 3, dimension: 1, documents: 3 }))).toEqual([]);
  });
});

describe('inspectTable', () => {
  it('reports fill, ages and version; the shares of all ages sum to 1', () => {
    const table = new ScoreTable({ rows: 8, dimension: 1, documents: 20 });
    expect(inspectTable(table)).toEqual({ filledRatio: 0 });
    table.insert([3, 4, 5, 6], new Float32Array(4), { version: 0 });
    for (let step = 1; step <= 6; step++) {
      if (step === 2) table.refresh([table.slotOf(4)], new Float32Array(1));
      if (step === 5) table.refresh([table.slotOf(5)], new Float32Array(1));
      table.tick();
    }
    // Made before step 1 and in steps 2 and 5, after step 6.
    expect(inspectTable(table)).toEqual({
      filledRatio: 0.5,
      ageMean: (6 + 4 + 1 + 6) / 4,
      ageMax: 6,
      tableVersion: 5,
      'ageRatio/0': 0,
      'ageRatio/1': 0.25,
      'ageRatio/2-3': 0,
      'ageRatio/4-7': 0.75,
    });
  });

  it('counts age from when an embedding was made, not from when its document was inserted', () => {
    const table = new ScoreTable({ rows: 2, dimension: 1, documents: 2, eviction: 'fifo' });
    table.insert([0, 1], new Float32Array(2), { version: 0 });
    table.tick();
    table.tick();
    table.refresh([0], new Float32Array(1));
    table.tick();
    expect(inspectTable(table)).toMatchObject({
      ageMean: 1.5,
      'ageRatio/0': 0.5,
      ageMax: 3,
      tableVersion: 3,
    });
  });
});
