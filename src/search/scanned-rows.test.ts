import { describe, expect, it } from 'vitest';
import { rngKey, uniform } from '../util/rng.ts';
import { type BlockScores, ScannedRows } from './scanned-rows.ts';

/** Few different values, so that ties are frequent, also where the cut goes. */
function scoresOf(n: number, steps: number): Float32Array {
  const values = new Float32Array(n);
  uniform(rngKey(2, 0, `scores/${n}/${steps}`), values);
  return values.map((u) => Math.floor(u * steps));
}

/** Makes the block of one query. */
function blockOf(scores: Float32Array, group: number, start = 0): BlockScores {
  const maxima = Float32Array.from({ length: scores.length / group }, (_, g) =>
    Math.max(...scores.subarray(g * group, (g + 1) * group)),
  );
  const sums = Float32Array.of(scores.reduce((a, b) => a + b, 0));
  return { start, count: scores.length, scores, group, maxima, sums };
}

function best(all: Float32Array, k: number) {
  const order = [...all.keys()].filter((row) => all[row] !== -Infinity);
  return order.sort((a, b) => all[b]! - all[a]! || a - b).slice(0, k);
}

describe('ScannedRows', () => {
  it.each([
    [4096, 256, 32, 10, 5],
    [4096, 256, 32, 200, 7],
    [4096, 256, 1, 200, 1000],
    [1000, 100, 4, 999, 3],
    [1000, 100, 4, 150, 1],
    [512, 512, 32, 512, 50],
    [4096, 1024, 4, 250, 5000],
    [4096, 1024, 4, 250, 3],
    [6000, 1000, 8, 120, 1],
    [300, 300, 4, 100, 2],
  ])(
    'finds what sorting finds: %i rows, blocks of %i, groups of %i, k %i, %i values',
    (n, block, group, k, steps) => {
      const all = scoresOf(n, steps);
      const scanned = new ScannedRows(k);
      for (let start = 0; start < n; start += block)
        scanned.scan(blockOf(all.subarray(start, start + block), group, start), 0, 0);
      const [rows, scores] = [new Int32Array(k), new Float32Array(k)];
      scanned.write(rows, scores);
      const expected = best(all, k);
      expect([...rows]).toEqual(expected);
      expect([...scores]).toEqual(expected.map((row) => all[row]));
    },
  );

  it('finds ascending scores, each of which is the best so far', () => {
    const all = Float32Array.from({ length: 2048 }, (_, i) => i);
    const scanned = new ScannedRows(130);
    for (let start = 0; start < 2048; start += 64)
      scanned.scan(blockOf(all.subarray(start, start + 64), 32, start), 0, 0);
    const rows = new Int32Array(130);
    scanned.write(rows, new Float32Array(130));
    expect([...rows]).toEqual(Array.from({ length: 130 }, (_, i) => 2047 - i));
  });

  it('leaves out rows before the first, and those of the score −∞', () => {
    const scores = Float32Array.of(9, 8, -Infinity, 6, 5, 4, 3, 2);
    const scanned = new ScannedRows(3);
    scanned.scan(blockOf(scores, 4, 100), 0, 1);
    const rows = new Int32Array(5).fill(-1);
    scanned.write(rows, new Float32Array(5));
    expect([...rows]).toEqual([101, 103, 104, -1, -1]);
    const few = new ScannedRows(5);
    few.scan(blockOf(scores, 4), 0, 6);
    rows.fill(-1);
    few.write(rows, new Float32Array(5));
    expect([...rows]).toEqual([6, 7, -1, -1, -1]);
  });

  it('refuses a score that is not a number, but not infinite ones', () => {
    const wrong = Float32Array.of(1, 2, Number.NaN, 3);
    expect(() => new ScannedRows(2).scan({ ...blockOf(wrong, 4), maxima: Float32Array.of(3) }, 0, 0)).toThrow(
      'not a number',
    );
    const infinite = Float32Array.of(1, Infinity, -Infinity, 3);
    const scanned = new ScannedRows(2);
    scanned.scan(blockOf(infinite, 4), 0, 0);
    const rows = new Int32Array(2);
    scanned.write(rows, new Float32Array(2));
    expect([...rows]).toEqual([1, 3]);
  });

  it('reads the scores of one query of a block', () => {
    const [n, k] = [512, 40];
    const all = [scoresOf(n, 9), scoresOf(n, 700), scoresOf(n, 2)];
    const blocks = all.map((scores) => blockOf(scores, 8, 1000));
    const joined = (field: 'scores' | 'maxima' | 'sums') =>
      Float32Array.from(blocks.flatMap((block) => [...block[field]]));
    const block = { ...blocks[0]!, scores: joined('scores'), maxima: joined('maxima'), sums: joined('sums') };
    for (const [query, scores] of all.entries()) {
      const scanned = new ScannedRows(k);
      scanned.scan(block, query, 0);
      const rows = new Int32Array(k);
      scanned.write(rows, new Float32Array(k));
      expect([...rows]).toEqual(best(scores, k).map((row) => 1000 + row));
    }
  });

  it('takes −0 and 0 for the same score', () => {
    const scores = Float32Array.of(-0, 0, -1, -0, 0, -0, 1, 0);
    for (const k of [2, 3, 5, 8]) {
      const scanned = new ScannedRows(k);
      scanned.scan(blockOf(scores, 2), 0, 0);
      const rows = new Int32Array(k);
      scanned.write(rows, new Float32Array(k));
      expect([...rows]).toEqual([6, 0, 1, 3, 4, 5, 7, 2].slice(0, k));
    }
  });
});
