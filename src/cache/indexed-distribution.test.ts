import { afterEach, describe, expect, it } from 'vitest';
import { expectDistribution } from '../../test/chi-square.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UsageError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { CellIndex } from './cell-index.ts';
import { IndexedDistribution } from './indexed-distribution.ts';
import { type MaskedSlots, maskedSlotLists } from './masks.ts';
import { sampleSlots } from './samplers.ts';
import { ScoreTable } from './score-table.ts';
import { TableScores } from './table-scores.ts';

const D = 8;
const ROWS = 500;
const opened: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of opened.splice(0)) await part.dispose();
});

function normals(count: number, purpose: string, scale = 1): Float32Array {
  const values = new Float32Array(count * D);
  normal(rngKey(7, 0, purpose), values);
  return values.map((z) => scale * z);
}

async function makeIndex(options: { storage?: 'f32' | 'f16'; rows?: number; filled?: number } = {}) {
  const { rows = ROWS, filled = rows, storage = 'f32' } = options;
  const table = new ScoreTable({ rows, dimension: D, documents: rows, storage });
  const documents = Int32Array.from({ length: filled }, (_, n) => n);
  table.fill(documents, normals(filled, 'table'));
  const source = new TableScores(table, { threads: 1 });
  const index = new CellIndex(table, { threads: 1, leastRows: 50 });
  opened.push(source, index);
  await index.update();
  return { table, source, index };
}
type Made = Awaited<ReturnType<typeof makeIndex>>;

/** Softmax over the filled slots in double precision, 0 where masked; and log Z. */
function reference({ table }: Made, query: Float32Array, masked: Iterable<number> = []) {
  const out = new Set(masked);
  const scores = Array.from({ length: table.filled }, (_, n) =>
    table.read([n]).reduce((sum, x, d) => sum + x * query[d]!, 0),
  );
  const weights = scores.map((s, n) => (out.has(n) ? 0 : Math.exp(s)));
  const total = weights.reduce((a, b) => a + b, 0);
  return { scores, p: weights.map((w) => w / total), logZ: Math.log(total) };
}

/** Queries whose softmax is spread over the table, so that most draws are uniform rows. */
const flat = (count = 1) => normals(count, 'queries', 0.35);
/** Queries for which a few rows have most of the weight. */
const steep = (count = 1) => normals(count, 'queries', 2);

async function drawMany(
  { source, index }: Made,
  query: Float32Array,
  options: { draws: number; k: number; masked?: MaskedSlots; exclude?: MaskedSlots; replacement?: boolean },
) {
  const { draws, k, masked, replacement = true, exclude } = options;
  const samples: number[][] = [];
  let [missed, scored, Z] = [0, 0, 0];
  for (let draw = 0; draw < draws; draw++) {
    const distribution = await IndexedDistribution.create(source, index, query, {
      draws: k,
      key: rngKey(1, draw, 'uniform'),
      masked,
    });
    const { slots } = await distribution.draw(k, rngKey(1, draw, 'test'), {
      replacement,
      ...(exclude && { exclude }),
    });
    samples.push([...slots]);
    missed += distribution.report.missed / draws;
    scored += distribution.report.scored / draws;
    Z += Math.exp(distribution.logPartition[0]!) / draws;
  }
  return { samples, missed, scored, logZ: Math.log(Z) };
}

function counts(slots: readonly number[]): number[] {
  const found = new Array<number>(ROWS).fill(0);
  for (const slot of slots) found[slot]! += 1;
  return found;
}

describe('IndexedDistribution', () => {
  it.each([
    ['a spread softmax', flat(), 'f32'],
    ['a steep softmax', steep(), 'f32'],
    ['a spread softmax over f16', flat(), 'f16'],
  ] as const)(
    'draws from %s',
    async (_, query, storage) => {
      const made = await makeIndex({ storage });
      const { samples, missed, logZ } = await drawMany(made, query, { draws: 60, k: 64 });
      const { p, logZ: expected } = reference(made, query);
      expectDistribution(counts(samples.flat()), p);
      expect(missed).toBeLessThan(0.002);
      expect(Math.abs(logZ - expected)).toBeLessThan(0.03);
    },
    60_000,
  );

  it('draws most rows of a spread softmax from cells that are not probed', async () => {
    const made = await makeIndex();
    const { cells } = made.index;
    const distribution = await IndexedDistribution.create(made.source, made.index, flat(), {
      draws: 1,
      key: rngKey(1, 0, 'uniform'),
    });
    const { slots } = await distribution.draw(200, rngKey(1, 0, 'test'), { replacement: true });
    const drawn = new Set(Array.from(slots, (slot) => cells!.pages.cellOf[slot]!));
    expect(drawn.size).toBeGreaterThan(20);
  });

  it('draws without replacement in the order of Gumbel-top-k', async () => {
    const made = await makeIndex();
    const query = steep();
    const { samples } = await drawMany(made, query, { draws: 700, k: 2, replacement: false });
    expect(samples.every(([a, b]) => a !== b)).toBe(true);
    const { p } = reference(made, query);
    expectDistribution(counts(samples.map(([a]) => a!)), p);
    // P(second = n) = Σ_m≠n p_m p_n / (1 − p_m)
    const second = p.map((own, n) =>
      p.reduce((sum, other, m) => sum + (m === n ? 0 : (other * own) / (1 - other)), 0),
    );
    expectDistribution(counts(samples.map(([, b]) => b!)), second);
  }, 60_000);

  it('never draws masked or excluded slots; only masked ones leave Z', async () => {
    const made = await makeIndex();
    for (const query of [flat(), steep()]) {
      const order = reference(made, query)
        .p.map((p, n) => ({ p, n }))
        .sort((a, b) => b.p - a.p)
        .map(({ n }) => n);
      const [masked, excluded] = [order.filter((_, i) => i % 3 === 0), order.filter((_, i) => i % 3 === 1)];
      const { samples, logZ } = await drawMany(made, query, {
        draws: 40,
        k: 64,
        masked: maskedSlotLists(1, () => masked),
        exclude: maskedSlotLists(1, () => excluded),
      });
      expectDistribution(counts(samples.flat()), reference(made, query, [...masked, ...excluded]).p);
      expect(Math.abs(logZ - reference(made, query, masked).logZ)).toBeLessThan(0.05);
    }
  }, 60_000);

  it('draws all rows there are without replacement, then none', async () => {
    const made = await makeIndex({ rows: 120, filled: 80 });
    const { samples } = await drawMany(made, steep(), {
      draws: 1,
      k: 90,
      replacement: false,
      masked: maskedSlotLists(1, () => [3, 4]),
    });
    const drawn = samples[0]!.filter((slot) => slot !== NONE);
    expect(drawn.sort((a, b) => a - b)).toEqual(
      [...Array(80).keys()].filter((slot) => slot !== 3 && slot !== 4),
    );
    expect(samples[0]!.slice(78)).toEqual(new Array(12).fill(NONE));
  });

  it('returns the scores of drawn slots', async () => {
    const made = await makeIndex();
    const queries = steep(3);
    const distribution = await IndexedDistribution.create(made.source, made.index, queries, {
      draws: 5,
      key: rngKey(1, 0, 'uniform'),
    });
    const { slots, scores } = await distribution.draw(5, rngKey(1, 0, 'test'));
    for (const [i, slot] of slots.entries()) {
      const b = Math.floor(i / 5);
      expect(scores[i]).toBeCloseTo(reference(made, queries.subarray(b * D, (b + 1) * D)).scores[slot]!, 4);
    }
  });

  it('has nothing to draw where every slot is masked', async () => {
    const made = await makeIndex();
    const distribution = await IndexedDistribution.create(made.source, made.index, flat(), {
      draws: 1,
      key: rngKey(1, 0, 'uniform'),
      masked: maskedSlotLists(1, () => Array(ROWS).keys()),
    });
    expect(distribution.logPartition[0]).toBe(Math.fround(MASKED_SCORE));
    expect([...(await distribution.draw(2, rngKey(1, 0, 'test'))).slots]).toEqual([NONE, NONE]);
  });

  it('draws the same from the same keys, and something else from others', async () => {
    const made = await makeIndex();
    const draw = async (seed: number) => (await drawMany(made, flat(4), { draws: seed, k: 8 })).samples;
    expect(await draw(2)).toEqual(await draw(2));
    const [first, second] = await draw(2);
    expect(first).not.toEqual(second);
  });

  it('estimates the probability of rows that its cells do not show', async () => {
    const made = await makeIndex();
    // A row moves far along the query, but stays in its cell, as if the index were wrong.
    const query = flat();
    const { pages } = made.index.cells!;
    const near = reference(made, query).scores;
    const lowest = near.indexOf(Math.min(...near));
    const length = query.reduce((sum, x) => sum + x * x, 0);
    made.table.refresh(
      [lowest],
      query.map((x) => (x * 8) / length),
    );
    expect(pages.cellOf[lowest]).toBeGreaterThanOrEqual(0);
    const { missed, samples } = await drawMany(made, query, { draws: 150, k: 1 });
    const { p } = reference(made, query);
    const found = samples.filter(([slot]) => slot === lowest).length / samples.length;
    expect(p[lowest]).toBeGreaterThan(0.5);
    expect(found).toBeLessThan(p[lowest]!);
    expect(missed).toBeGreaterThan(0.1);
  }, 60_000);

  it('refuses a table without an index, and masks of other queries', async () => {
    const made = await makeIndex();
    const options = { draws: 1, key: rngKey(1, 0, 'uniform') };
    await expect(
      IndexedDistribution.create(made.source, made.index, flat(2), {
        ...options,
        masked: maskedSlotLists(1, () => []),
      }),
    ).rejects.toThrow(UsageError);
    made.table.fill([0], normals(1, 'one'));
    await made.index.update();
    await expect(IndexedDistribution.create(made.source, made.index, flat(), options)).rejects.toThrow(
      UsageError,
    );
  });
});

describe('sampleSlots with an index', () => {
  const request = (queries: Float32Array) => ({ queries, inverseTemperature: 1 });
  const key = { seed: 1, draw: 0, purpose: 'test' };

  it('reports what it scored and missed, and mixes with other samplers', async () => {
    const { source, index } = await makeIndex({ rows: 4000 });
    const sampler = {
      kind: 'mixture',
      parts: [
        { kind: 'softmax', k: 3 },
        { kind: 'uniform', k: 4 },
      ],
    } as const;
    const sample = await sampleSlots(source, sampler, { ...request(flat(5)), index }, key);
    expect(sample.search!.scored).toBeGreaterThan(0);
    expect(sample.search!.missed).toBeLessThan(0.05);
    for (let b = 0; b < 5; b++) expect(new Set(sample.slots.subarray(7 * b, 7 * (b + 1))).size).toBe(7);
  });

  it('scores all rows where so many draws are asked for that an index saves nothing', async () => {
    const { source, index } = await makeIndex();
    const sampler = { kind: 'softmax', k: 100 } as const;
    const sample = await sampleSlots(source, sampler, { ...request(flat(2)), index }, key);
    expect(sample).toEqual(await sampleSlots(source, sampler, request(flat(2)), key));
    expect([1, 64, 4096].map((draws) => IndexedDistribution.pays(2 ** 20, 128, draws))).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('scores all rows of a table that is too small for an index', async () => {
    const table = new ScoreTable({ rows: 20, dimension: D, documents: 20 });
    table.fill([...Array(20).keys()], normals(20, 'small'));
    const source = new TableScores(table, { threads: 1 });
    const index = new CellIndex(table, { threads: 1 });
    opened.push(source, index);
    await index.update();
    const sampler = { kind: 'softmax', k: 3 } as const;
    const sample = await sampleSlots(source, sampler, { ...request(flat(2)), index }, key);
    expect(sample).toEqual(await sampleSlots(source, sampler, request(flat(2)), key));
    expect(sample.search).toBeUndefined();
  });
});
