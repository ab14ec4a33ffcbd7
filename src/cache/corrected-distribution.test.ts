import { afterEach, describe, expect, it } from 'vitest';
import { expectDistribution } from '../../test/chi-square.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UsageError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { CellIndex } from './cell-index.ts';
import { CorrectedDistribution, candidatesPerQuery, type RowCorrection } from './corrected-distribution.ts';
import { type MaskedSlots, maskedSlotLists } from './masks.ts';
import { sampleSlots } from './samplers.ts';
import { ScoreTable } from './score-table.ts';
import { TableDistribution } from './table-distribution.ts';
import { TableScores } from './table-scores.ts';

const D = 4;
const ROWS = 60;
/** Queries of a distribution: all equal, with draws of their own. */
const COPIES = 2000;
const opened: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0)) await part.dispose();
});

function normals(count: number, purpose: string, scale = 1): Float32Array {
  const values = new Float32Array(count * D);
  normal(rngKey(3, 0, purpose), values);
  return values.map((z) => scale * z);
}

/** Makes a table, and a correction that moves each row by normal numbers of a scale. */
function makeTable({ rows = ROWS, scale = 0.15, storage = 'f32' as 'f32' | 'f16' } = {}) {
  const table = new ScoreTable({ rows, dimension: D, documents: rows, storage });
  table.fill(
    Array.from({ length: rows }, (_, n) => n),
    normals(rows, 'table'),
  );
  const source = new TableScores(table, { threads: 1 });
  opened.push(source);
  const moves = normals(rows, 'moves', scale);
  const corrected: number[][] = [];
  const moved = (slot: number) => table.read([slot]).map((x, i) => x + moves[slot * D + i]!);
  const correction: RowCorrection = {
    mostRows: 0,
    async correct(slots) {
      corrected.push([...slots]);
      return Float32Array.from([...slots].flatMap((slot) => [...moved(slot)]));
    },
  };
  return { table, source, correction, corrected, moved };
}
type Made = ReturnType<typeof makeTable>;

const copies = (query: Float32Array, count = COPIES) =>
  Float32Array.from({ length: count * D }, (_, i) => query[i % D]!);

/** Softmax over the corrected rows in double precision, 0 where masked; and log Z. */
function reference({ table, moved }: Made, query: Float32Array, masked: Iterable<number> = []) {
  const out = new Set(masked);
  const scores = Array.from({ length: table.filled }, (_, n) =>
    moved(n).reduce((sum, x, d) => sum + x * query[d]!, 0),
  );
  const weights = scores.map((s, n) => (out.has(n) ? 0 : Math.exp(s)));
  const total = weights.reduce((a, b) => a + b, 0);
  return { scores, p: weights.map((w) => w / total), logZ: Math.log(total) };
}

async function distributionOf(
  { source, correction }: Made,
  queries: Float32Array,
  options: { draws?: number; replacement?: boolean; masked?: MaskedSlots; mostRows?: number } = {},
) {
  const { draws = 1, replacement = true, masked, mostRows = (32 * queries.length) / D } = options;
  const stale = await TableDistribution.create(source, queries, masked);
  const made = await CorrectedDistribution.create(stale, source, queries, {
    correction: { ...correction, mostRows },
    draws,
    replacement,
    key: rngKey(1, 0, 'candidates'),
  });
  return { stale, made };
}

function counts(slots: Iterable<number>, rows = ROWS): number[] {
  const found = new Array<number>(rows).fill(0);
  for (const slot of slots) found[slot]! += 1;
  return found;
}
const at = (slots: Int32Array, k: number, place: number) => slots.filter((_, i) => i % k === place);
const flat = normals(1, 'query', 0.5);
const steep = normals(1, 'query', 2);

describe('CorrectedDistribution', () => {
  it.each([
    ['a spread softmax', flat, 'f32'],
    ['a steep softmax', steep, 'f32'],
    ['a spread softmax over f16', flat, 'f16'],
  ] as const)('draws independently from %s over the corrected rows', async (_, query, storage) => {
    const table = makeTable({ storage });
    const { made } = await distributionOf(table, copies(query), { draws: 2 });
    const { slots, scores } = await made.draw(2, rngKey(1, 0, 'draws'));
    const { p, scores: expected, logZ } = reference(table, query);
    expectDistribution(counts(slots), p);
    for (const [i, slot] of slots.subarray(0, 200).entries())
      expect(scores[i]).toBeCloseTo(expected[slot]!, storage === 'f32' ? 4 : 2);
    // P(both the same) = Σ p²
    const same = at(slots, 2, 0).filter((slot, b) => slot === slots[2 * b + 1]).length / COPIES;
    expect(Math.abs(same - p.reduce((sum, x) => sum + x * x, 0))).toBeLessThan(0.04);
    const mean = made.logPartition.reduce((sum, x) => sum + Math.exp(x - logZ), 0) / COPIES;
    expect(Math.abs(mean - 1)).toBeLessThan(0.03);
    expect(made.report.missed).toBeLessThan(0.005);
  });

  it('draws without replacement in the order of Gumbel-top-k', async () => {
    const table = makeTable();
    const { made } = await distributionOf(table, copies(steep), {
      draws: 2,
      replacement: false,
      mostRows: 24 * COPIES,
    });
    const { slots } = await made.draw(2, rngKey(1, 0, 'draws'));
    const { p, logZ } = reference(table, steep);
    expect(at(slots, 2, 0).every((slot, b) => slot !== slots[2 * b + 1])).toBe(true);
    expectDistribution(counts(at(slots, 2, 0)), p);
    // P(second = n) = Σ_m≠n p_m p_n / (1 − p_m)
    const second = p.map((own, n) =>
      p.reduce((sum, other, m) => sum + (m === n ? 0 : (other * own) / (1 - other)), 0),
    );
    expectDistribution(counts(at(slots, 2, 1)), second);
    const mean = made.logPartition.reduce((sum, x) => sum + Math.exp(x - logZ), 0) / COPIES;
    expect(Math.abs(mean - 1)).toBeLessThan(0.03);
  });

  it.each([true, false])(
    'draws as from the table if nothing is moved; replacement: %s',
    async (replacement) => {
      const table = makeTable({ scale: 0 });
      const queries = copies(steep, 20);
      const { stale, made } = await distributionOf(table, queries, { draws: 4, replacement });
      const { slots } = await made.draw(4, rngKey(1, 0, 'draws'));
      const candidates = await stale.draw(32, rngKey(1, 0, 'candidates'), { replacement });
      for (let b = 0; b < 20; b++)
        expect(slots.slice(4 * b, 4 * b + 4)).toEqual(candidates.slots.slice(32 * b, 32 * b + 4));
      for (const [b, logZ] of made.logPartition.entries())
        expect(logZ).toBeCloseTo(stale.logPartition[b]!, 4);
    },
  );

  it('never draws masked or excluded slots; only masked ones leave Z', async () => {
    const table = makeTable();
    const order = reference(table, steep)
      .p.map((p, n) => ({ p, n }))
      .sort((a, b) => b.p - a.p)
      .map(({ n }) => n);
    const [masked, excluded] = [0, 1].map((rest) => order.filter((_, i) => i % 3 === rest));
    const mask = (slots: number[]) => maskedSlotLists(COPIES, () => slots);
    const { made } = await distributionOf(table, copies(steep), {
      masked: mask(masked!),
      mostRows: 100 * COPIES,
    });
    const { slots } = await made.draw(1, rngKey(1, 0, 'draws'), { exclude: mask(excluded!) });
    expectDistribution(counts(slots), reference(table, steep, [...masked!, ...excluded!]).p);
    const { logZ } = reference(table, steep, masked);
    const mean = made.logPartition.reduce((sum, x) => sum + Math.exp(x - logZ), 0) / COPIES;
    expect(Math.abs(mean - 1)).toBeLessThan(0.03);
  });

  it('corrects all rows where there are fewer than candidates, then draws none', async () => {
    const table = makeTable({ rows: 10 });
    const masked = maskedSlotLists(2, () => [3]);
    const { made } = await distributionOf(table, copies(steep, 2), { draws: 12, replacement: false, masked });
    const { slots } = await made.draw(12, rngKey(1, 0, 'draws'));
    expect([...slots.subarray(0, 9)].sort()).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9]);
    expect([...slots.subarray(9, 12)]).toEqual([NONE, NONE, NONE]);
    expect(made.logPartition[0]).toBeCloseTo(reference(table, steep, [3]).logZ, 4);
    expect(made.report).toEqual({ rows: 9, missed: 0 });
    const all = maskedSlotLists(2, () => [...Array(10).keys()]);
    const nothing = await distributionOf(table, copies(steep, 2), { masked: all });
    expect(nothing.made.logPartition[0]).toBe(Math.fround(MASKED_SCORE));
    expect([...(await nothing.made.draw(1, rngKey(1, 0, 'draws'))).slots]).toEqual([NONE, NONE]);
  });

  it('corrects each row once, and at most the candidates', async () => {
    const table = makeTable({ rows: 3000 });
    const { made } = await distributionOf(table, copies(flat, 4), { mostRows: 4 * 20 });
    expect(table.corrected).toHaveLength(1);
    const [slots] = table.corrected;
    expect(new Set(slots).size).toBe(slots!.length);
    expect(slots!.length).toBeLessThanOrEqual(80);
    expect(made.report.rows).toBe(slots!.length);
  });

  it.each([
    [0.5, 0.002],
    [1.5, 0.1],
  ])('misses few draws where scores are moved by %s nats', async (nats, limit) => {
    const length = Math.hypot(...steep);
    const table = makeTable({ rows: 3000, scale: nats / length });
    const [few, many] = await Promise.all(
      [32, 512].map((candidates) =>
        distributionOf(table, copies(steep, 600), { mostRows: 600 * candidates }),
      ),
    );
    // The first 32 candidates and their times are the same, so that draws differ only where a later one comes first.
    const drawn = await Promise.all([few, many].map((of) => of!.made.draw(1, rngKey(1, 0, 'draws'))));
    const differing = drawn[0]!.slots.filter((slot, b) => slot !== drawn[1]!.slots[b]).length / 600;
    expect(differing).toBeLessThan(limit);
    const { missed } = few!.made.report;
    expect(missed).toBeLessThan(3 * differing + 0.001);
    expect(missed).toBeGreaterThan(differing / 3 - 0.003);
  });

  it('gives other draws to other keys, and the same to the same', async () => {
    const { made } = await distributionOf(makeTable(), copies(flat, 50));
    const draw = async (seed: number) => [...(await made.draw(1, rngKey(seed, 0, 'draws'))).slots];
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });
});

describe('candidatesPerQuery', () => {
  it('grows with the draws, or shares given rows among the queries', () => {
    expect([1, 32, 64, 128, 512].map((B) => candidatesPerQuery(1, B))).toEqual([64, 64, 32, 16, 16]);
    expect(candidatesPerQuery(8, 128)).toBe(64);
    expect(candidatesPerQuery(20, 8)).toBe(160);
    expect(candidatesPerQuery(1, 128, 12_800)).toBe(100);
    expect(candidatesPerQuery(5, 128, 10)).toBe(5);
  });
});

describe('sampleSlots of corrected rows', () => {
  const key = { seed: 1, draw: 0, purpose: 'test' };
  const request = (queries: Float32Array, made: Made) => ({
    queries,
    inverseTemperature: 1,
    correction: made.correction,
  });

  it('scores what it draws by the corrected rows, uniform ones too, with an index and without', async () => {
    const made = makeTable({ rows: 500 });
    const index = new CellIndex(made.table, { threads: 1, leastRows: 50 });
    opened.push(index);
    await index.update();
    const parts = [
      { kind: 'softmax', k: 2 },
      { kind: 'uniform', k: 3 },
    ] as const;
    const queries = copies(flat, 5);
    const { scores: expected } = reference(made, flat);
    for (const of of [{}, { index }]) {
      const sampler = { kind: 'mixture', parts } as const;
      const sample = await sampleSlots(made.source, sampler, { ...request(queries, made), ...of }, key);
      for (const [i, slot] of sample.slots.entries())
        expect(sample.scores[i]).toBeCloseTo(expected[slot]!, 4);
      for (let b = 0; b < 5; b++) expect(new Set(sample.slots.subarray(5 * b, 5 * b + 5)).size).toBe(5);
      expect(sample.correction!.rows).toBeGreaterThan(30);
    }
  });

  it('draws by an index from the softmax over the corrected rows', async () => {
    const made = makeTable({ rows: 8192 });
    const index = new CellIndex(made.table, { threads: 1, leastRows: 50 });
    opened.push(index);
    await index.update();
    const sampler = { kind: 'softmax', k: 1, replacement: true } as const;
    const { p, logZ } = reference(made, steep);
    const drawn: number[] = [];
    let [Z, missed] = [0, 0];
    // Queries of a call share uniform rows, so that only calls are independent.
    const [calls, B] = [120, 20];
    for (let draw = 0; draw < calls; draw++) {
      const own = { ...request(copies(steep, B), made), index };
      const sample = await sampleSlots(made.source, sampler, own, { ...key, draw });
      drawn.push(...sample.slots);
      for (const value of sample.logPartition!) Z += Math.exp(value - logZ) / (calls * B);
      missed += (sample.search!.missed + sample.correction!.missed) / calls;
    }
    expectDistribution(counts(drawn, 8192), p);
    expect(Math.abs(Z - 1)).toBeLessThan(0.05);
    expect(missed).toBeLessThan(0.01);
  });

  it('refuses ranks, for which all rows have to be corrected', async () => {
    const made = makeTable();
    await expect(sampleSlots(made.source, { kind: 'top', k: 2 }, request(flat, made), key)).rejects.toThrow(
      UsageError,
    );
  });
});
