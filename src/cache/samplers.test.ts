import { afterEach, describe, expect, it } from 'vitest';
import { expectDistribution } from '../../test/chi-square.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { normal, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { maskedSlotLists } from './masks.ts';
import { type Sampler, sampleSize, sampleSlots } from './samplers.ts';
import { ScoreTable } from './score-table.ts';
import { TableScores } from './table-scores.ts';

const open: TableScores[] = [];
afterEach(async () => {
  for (const scores of open.splice(0)) await scores.dispose();
});

/** One-dimensional embeddings: for the query 1, the scores themselves. */
function makeScores(values: readonly number[], rows = values.length): TableScores {
  const table = new ScoreTable({ rows, dimension: 1, documents: rows });
  table.fill([...values.keys()], Float32Array.from(values));
  const scores = new TableScores(table, { threads: 1 });
  open.push(scores);
  return scores;
}

const key = { seed: 1, draw: 0, purpose: 'test' };
const request = (B: number) => ({ queries: new Float32Array(B).fill(1), inverseTemperature: 1 });
const counts = (slots: Int32Array, cells: number) => {
  const found = new Array<number>(cells).fill(0);
  for (const slot of slots) found[slot]! += 1;
  return found;
};
const rowsOf = (values: ArrayLike<number>, k: number) =>
  Array.from({ length: values.length / k }, (_, b) => Array.from(values).slice(b * k, (b + 1) * k));

describe('top', () => {
  it('takes the largest scores that are not masked', async () => {
    const source = makeScores([5, 1, 9, 9, 3], 8);
    const masked = maskedSlotLists(3, (b) => [[], [2], [0, 1, 2, 3]][b]!);
    const sample = await sampleSlots(source, { kind: 'top', k: 3 }, { ...request(3), masked }, key);
    expect(rowsOf(sample.slots, 3)).toEqual([
      [2, 3, 0],
      [3, 0, 4],
      [4, NONE, NONE],
    ]);
    expect(rowsOf(sample.scores, 3)[1]).toEqual([9, 5, 3]);
    expect(sample.scores[8]).toBe(Math.fround(MASKED_SCORE));
    expect(sample.logPartition).toBeUndefined();
  });

  it('scores are similarities divided by the temperature', async () => {
    const sample = await sampleSlots(
      makeScores([0.5, 0.25]),
      { kind: 'top', k: 2 },
      { ...request(1), inverseTemperature: 20 },
      key,
    );
    expect([...sample.scores]).toEqual([10, 5]);
  });
});

describe('rank-range', () => {
  // Slot 2n + 1 has rank 9 − n, slot 2n rank 19 − n.
  const values = Array.from({ length: 20 }, (_, n) => (n % 2) * 10 + (n >> 1));

  it('takes uniformly from the ranks, counted without masked slots', async () => {
    const B = 4000;
    const sampler: Sampler = { kind: 'rank-range', k: 2, from: 3, to: 7 };
    const masked = maskedSlotLists(B, () => [19]); // rank 0
    const sample = await sampleSlots(makeScores(values), sampler, { ...request(B), masked }, key);
    // Without slot 19, ranks 3 … 6 are the scores 15, 14, 13, 12.
    const expected = [15, 14, 13, 12].map((score) => values.indexOf(score));
    const found = counts(sample.slots, 20);
    expectDistribution(
      expected.map((slot) => found[slot]!),
      [0.25, 0.25, 0.25, 0.25],
    );
    expect(found.reduce((a, b) => a + b)).toBe(expected.reduce((sum, slot) => sum + found[slot]!, 0));
    expect(rowsOf(sample.slots, 2).filter(([a, b]) => a === b)).toEqual([]);
  });

  it('keeps its distance from the positive', async () => {
    const source = makeScores(values);
    const draw = async (margins: { absoluteMargin?: number; relativeMargin?: number }, inverse = 1) => {
      const sampler: Sampler = { kind: 'rank-range', k: 12, from: 2, to: 14, ...margins };
      const positiveScores = Float32Array.of(14 * inverse, -1 * inverse);
      const sample = await sampleSlots(
        source,
        sampler,
        { ...request(2), inverseTemperature: inverse, positiveScores },
        key,
      );
      return rowsOf(sample.slots, 12).map((slots) =>
        slots
          .filter((slot) => slot !== NONE)
          .map((slot) => values[slot]!)
          .sort((a, b) => b - a),
      );
    };
    // Ranks 2 … 13 are the scores 17 … 10, 9, 8, 7, 6.
    const ranks = [17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6];
    expect(await draw({})).toEqual([ranks, ranks]);
    expect(await draw({ absoluteMargin: 2 })).toEqual([ranks.filter((s) => s <= 12), []]);
    expect(await draw({ relativeMargin: 0.5 })).toEqual([ranks.filter((s) => s <= 7), []]);
    expect(await draw({ absoluteMargin: 2, relativeMargin: 0.5 })).toEqual([[7, 6], []]);
    // Margins are in units of similarity, whatever the temperature.
    expect(await draw({ absoluteMargin: 2 }, 20)).toEqual([ranks.filter((s) => s <= 12), []]);
  });

  it('refuses invalid ranks and margins', async () => {
    const source = makeScores(values);
    const draw = (sampler: Sampler) => sampleSlots(source, sampler, request(1), key);
    await expect(draw({ kind: 'rank-range', k: 5, from: 2, to: 6 })).rejects.toThrow(
      'ranks 2 … 6 do not hold 5',
    );
    await expect(draw({ kind: 'rank-range', k: 1, from: 0, to: 5, absoluteMargin: 1 })).rejects.toThrow(
      'a margin needs the scores of the positives',
    );
    await expect(draw({ kind: 'top', k: 0 })).rejects.toThrow('top: k must be a whole number');
  });
});

describe('uniform', () => {
  it.each([
    ['few of many', 200, 3],
    ['most of few', 12, 6],
  ])('%s: each slot equally often, none masked, none empty, none twice', async (_, filled, k) => {
    const B = 2000;
    const source = makeScores(
      Array.from({ length: filled }, (_, n) => n),
      filled + 30,
    );
    const masked = maskedSlotLists(B, () => [1, 5]);
    const sample = await sampleSlots(source, { kind: 'uniform', k }, { ...request(B), masked }, key);
    const p = Array.from({ length: filled + 30 }, (_, n) =>
      n >= filled || n === 1 || n === 5 ? 0 : 1 / (filled - 2),
    );
    expectDistribution(counts(sample.slots, filled + 30), p);
    expect(rowsOf(sample.slots, k).filter((slots) => new Set(slots).size !== k)).toEqual([]);
    expect(sample.scores.every((score, i) => score === sample.slots[i])).toBe(true);
  });

  it('gives all slots left if there are fewer than asked for', async () => {
    const masked = maskedSlotLists(1, () => [0]);
    const { slots } = await sampleSlots(
      makeScores([1, 2, 3]),
      { kind: 'uniform', k: 4 },
      { ...request(1), masked },
      key,
    );
    expect([...slots].sort()).toEqual([NONE, NONE, 1, 2]);
  });
});

describe('softmax', () => {
  it('draws with probability ∝ exp(similarity / τ)', async () => {
    const values = [0.1, 0.2, 0.3, 0.05];
    const B = 20_000;
    const masked = maskedSlotLists(B, () => [3]);
    const sample = await sampleSlots(
      makeScores(values),
      { kind: 'softmax', k: 1 },
      { ...request(B), inverseTemperature: 10, masked },
      key,
    );
    const weights = values.map((s, n) => (n === 3 ? 0 : Math.exp(10 * s)));
    const total = weights.reduce((a, b) => a + b);
    expectDistribution(
      counts(sample.slots, 4),
      weights.map((w) => w / total),
    );
    expect(sample.logPartition![0]).toBeCloseTo(Math.log(total), 5);
  });
});

describe('mixture', () => {
  const sampler: Sampler = {
    kind: 'mixture',
    parts: [
      { kind: 'top', k: 2 },
      { kind: 'softmax', k: 3 },
      { kind: 'uniform', k: 4 },
    ],
  };
  const values = new Float32Array(40);
  normal(rngKey(3, 0, 'values'), values);

  it('draws each part in its order, and nothing twice', async () => {
    expect(sampleSize(sampler)).toBe(9);
    const B = 50;
    const source = makeScores([...values]);
    const masked = maskedSlotLists(B, (b) => [b % 40]);
    const sample = await sampleSlots(source, sampler, { ...request(B), masked }, key);
    expect(sample.k).toBe(9);
    const top = await sampleSlots(source, { kind: 'top', k: 2 }, { ...request(B), masked }, key);
    for (const [b, slots] of rowsOf(sample.slots, 9).entries()) {
      expect(slots.slice(0, 2)).toEqual(rowsOf(top.slots, 2)[b]);
      expect(new Set(slots).size).toBe(9);
      expect(slots).not.toContain(b % 40);
      expect(slots).not.toContain(NONE);
    }
    for (const [i, slot] of sample.slots.entries()) expect(sample.scores[i]).toBe(values[slot]);
    const log = (b: number) => Math.log(values.reduce((sum, s, n) => sum + (n === b ? 0 : Math.exp(s)), 0));
    expect(sample.logPartition![7]).toBeCloseTo(log(7), 5);
  });

  it('repeats its draws, and draws differently for another batch', async () => {
    const source = makeScores([...values]);
    const draw = (step: number) => sampleSlots(source, sampler, request(5), { ...key, draw: step });
    expect(await draw(1)).toEqual(await draw(1));
    expect((await draw(2)).slots).not.toEqual((await draw(1)).slots);
  });
});
