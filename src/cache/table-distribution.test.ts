import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectDistribution } from '../../test/chi-square.ts';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UndriftError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { maskedSlotLists, maskKnownPositives } from './masks.ts';
import { BLOCK_ROWS, GROUP_BLOCKS } from './score-graphs.ts';
import { ScoreTable, type ScoreTableOptions } from './score-table.ts';
import { TableDistribution } from './table-distribution.ts';
import { TableScores } from './table-scores.ts';

const D = 4;
const GROUP_ROWS = GROUP_BLOCKS * BLOCK_ROWS;
const open: TableScores[] = [];
let keptScores: number;
afterEach(async () => {
  for (const scores of open.splice(0)) await scores.dispose();
});

function normals(rows: number, purpose: string, scale = 1): Float32Array {
  const values = new Float32Array(rows * D);
  normal(rngKey(7, 0, purpose), values);
  return values.map((z) => scale * z);
}

/** Document n + 5 in slot n. */
function makeScores(
  filled: number,
  options: Partial<ScoreTableOptions> & { embeddings?: Float32Array } = {},
): TableScores {
  const { embeddings = normals(filled, 'table'), ...rest } = options;
  const table = new ScoreTable({ rows: filled, dimension: D, documents: filled + 5, ...rest });
  table.fill(
    Int32Array.from({ length: filled }, (_, n) => n + 5),
    embeddings,
  );
  const scores = new TableScores(table, { threads: 1, keptScores });
  open.push(scores);
  return scores;
}

/** Softmax over the filled slots in double precision, 0 where masked; and log Z. */
function reference({ table }: TableScores, query: Float32Array, masked: Iterable<number> = []) {
  const out = new Set(masked);
  const rows = table.read(Int32Array.from({ length: table.filled }, (_, n) => n));
  const scores = Array.from({ length: table.filled }, (_, n) => {
    let score = 0;
    for (let d = 0; d < D; d++) score += query[d]! * rows[n * D + d]!;
    return score;
  });
  const largest = Math.max(...scores.filter((_, n) => !out.has(n)));
  const weights = scores.map((s, n) => (out.has(n) ? 0 : Math.exp(s - largest)));
  const total = weights.reduce((a, b) => a + b, 0);
  return { scores, p: weights.map((w) => w / total), logZ: largest + Math.log(total) };
}

function counts(slots: Int32Array, cells: number): number[] {
  const found = new Array<number>(cells).fill(0);
  for (const slot of slots) found[slot]! += 1;
  return found;
}

describe.each([
  { name: 'all scores kept', limit: Number.POSITIVE_INFINITY },
  { name: 'scores made again', limit: 0 },
])('TableDistribution, $name', ({ limit }) => {
  beforeEach(() => {
    keptScores = limit;
  });

  it.each([
    ['several blocks and a part of one', 5 * BLOCK_ROWS + 17, 5 * BLOCK_ROWS + 17],
    ['whole blocks', 3 * BLOCK_ROWS, 3 * BLOCK_ROWS],
    ['less than a block', 23, 23],
    ['one slot', 1, 1],
    ['slots that hold nothing', 2 * BLOCK_ROWS + 9, 6 * BLOCK_ROWS],
    ['slots that hold nothing, within the last block', 70, 90],
    ['groups of blocks', 2 * GROUP_ROWS, 2 * GROUP_ROWS],
    ['groups, a part of one, and a part of a block', 2 * GROUP_ROWS + 3 * BLOCK_ROWS + 9, 3 * GROUP_ROWS],
  ])('draws from the exact softmax: %s', async (_, filled, rows) => {
    const source = makeScores(filled, { rows });
    const queries = normals(2, 'queries');
    const draws = 50_000;
    const distribution = await TableDistribution.create(source, queries);
    const { slots, scores } = await distribution.draw(draws, rngKey(1, 0, 'draw'), { replacement: true });
    for (const b of [0, 1]) {
      const expected = reference(source, queries.subarray(b * D, (b + 1) * D));
      const own = slots.subarray(b * draws, (b + 1) * draws);
      if (filled > 1) expectDistribution(counts(own, filled), expected.p);
      else expect(own.every((slot) => slot === 0)).toBe(true);
      expect(distribution.logPartition[b]).toBeCloseTo(expected.logZ, 5);
      for (const i of [0, 1, draws - 1])
        expect(scores[b * draws + i]).toBeCloseTo(expected.scores[own[i]!]!, 5);
    }
  });

  it('sampling a block and then a slot inside equals sampling from all slots at once, however the mass is spread (U4)', async () => {
    // Blocks of very different mass: the spread of the scores grows along the table.
    const N = 4 * BLOCK_ROWS;
    const embeddings = normals(N, 'table').map((z, i) => z * (0.2 + (2 * i) / (N * D)));
    const source = makeScores(N, { embeddings });
    const queries = normals(1, 'queries', 2);
    const distribution = await TableDistribution.create(source, queries);
    const { slots } = await distribution.draw(100_000, rngKey(2, 0, 'draw'), { replacement: true });
    expectDistribution(counts(slots, N), reference(source, queries).p);
  });

  it('many unlikely slots are drawn as often as they should be; single-precision noise would miss them (P6)', async () => {
    // One slot of score 0, 2¹⁷ − 1 of score −18. With single-precision Gumbel noise, which ends at 16.6, the others would come
    // less than a tenth as often as they have to.
    const N = 2 ** 17;
    const embeddings = new Float32Array(N * D);
    for (let slot = 1; slot < N; slot++) embeddings[slot * D] = -18;
    const source = makeScores(N, { embeddings });
    const distribution = await TableDistribution.create(source, Float32Array.of(1, 0, 0, 0));
    const draws = 200_000;
    const { slots } = await distribution.draw(draws, rngKey(3, 0, 'draw'), { replacement: true });
    const others = slots.filter((slot) => slot > 0);
    const share = ((N - 1) * Math.exp(-18)) / (1 + (N - 1) * Math.exp(-18));
    expect(share * draws).toBeGreaterThan(300);
    expectDistribution([draws - others.length, others.length], [1 - share, share]);
    // Each of them is equally likely, wherever it lies.
    expectDistribution(
      counts(
        others.map((slot) => Math.floor((32 * slot) / N)),
        32,
      ),
      Array(32).fill(1 / 32),
    );
  });

  it('without replacement: the distribution of successive draws from what is left', async () => {
    const N = 5;
    const source = makeScores(N);
    const one = normals(1, 'query', 1.5);
    const B = 500;
    const queries = new Float32Array(B * D);
    for (let b = 0; b < B; b++) queries.set(one, b * D);
    const { p } = reference(source, one);
    const distribution = await TableDistribution.create(source, queries);
    const observed = new Map<string, number>();
    for (let draw = 0; draw < 100; draw++) {
      const { slots } = await distribution.draw(3, rngKey(3, draw, 'draw'));
      for (let b = 0; b < B; b++) {
        const order = slots.subarray(b * 3, b * 3 + 3).join();
        observed.set(order, (observed.get(order) ?? 0) + 1);
      }
    }
    const orders: string[] = [];
    const probabilities: number[] = [];
    for (let i = 0; i < N; i++) {
      for (let j = 0; j < N; j++) {
        for (let l = 0; l < N; l++) {
          if (i === j || j === l || i === l) continue;
          orders.push(`${i},${j},${l}`);
          probabilities.push(p[i]! * (p[j]! / (1 - p[i]!)) * (p[l]! / (1 - p[i]! - p[j]!)));
        }
      }
    }
    expect([...observed.keys()].every((order) => orders.includes(order))).toBe(true);
    expectDistribution(
      orders.map((order) => observed.get(order) ?? 0),
      probabilities,
    );
  });

  it('without replacement, all slots are drawn, the likely ones first; then none', async () => {
    const N = BLOCK_ROWS + 6;
    const source = makeScores(N, { rows: 3 * BLOCK_ROWS });
    // Scores hundreds apart: after the largest, what is left has a share that is 0 in double precision.
    const queries = normals(2, 'queries', 60);
    const masked = maskedSlotLists(2, (b) => (b === 0 ? [3, 66] : []));
    const distribution = await TableDistribution.create(source, queries, masked);
    const { slots, scores } = await distribution.draw(N + 2, rngKey(4, 0, 'draw'));
    for (const b of [0, 1]) {
      const own = slots.subarray(b * (N + 2), (b + 1) * (N + 2));
      const held = N - (b === 0 ? 2 : 0);
      const expected = Array.from({ length: N }, (_, n) => n).filter((n) => b === 1 || (n !== 3 && n !== 66));
      expect([...own.subarray(0, held)].sort((x, y) => x - y)).toEqual(expected);
      expect([...own.subarray(held)].every((slot) => slot === NONE)).toBe(true);
      expect(scores[(b + 1) * (N + 2) - 1]).toBe(Math.fround(MASKED_SCORE));
      const best = Math.max(...scores.subarray(b * (N + 2), (b + 1) * (N + 2)));
      expect(scores[b * (N + 2)]).toBe(best);
    }
  });

  it('own positives, known positives, duplicates and empty slots are never drawn (U9)', async () => {
    const [filled, rows, B] = [200, 256, 100];
    const source = makeScores(filled, { rows });
    const { table } = source;
    const queryRows = Int32Array.from({ length: B }, (_, b) => 3 * b);
    const positives = (row: number) => [row % 205, (row * 7) % 205];
    const positiveRows = Int32Array.from({ length: B }, (_, b) => (b * 11) % 205);
    const duplicates = (document: number) => (document % 2 === 0 ? [document, document + 1] : []);
    const masked = maskKnownPositives(table, queryRows, { positives, positiveRows, duplicates });
    const wrong = Array.from({ length: B }, (_, b) => {
      const right = new Set([...positives(3 * b), positiveRows[b]!]);
      for (const document of [...right]) if (document % 2 === 0) right.add(document + 1);
      return right;
    });
    // Queries point at one of their right answers, so that drawing it would be likely.
    const queries = new Float32Array(B * D);
    for (let b = 0; b < B; b++) {
      const slot = table.slotOf([...wrong[b]!].find((document) => table.slotOf(document) !== NONE)!);
      queries.set(
        table.read([slot]).map((x) => 3 * x),
        b * D,
      );
    }
    const hitsIn = async (mask: typeof masked | undefined, options: { replacement: boolean; k: number }) => {
      const distribution = await TableDistribution.create(source, queries, mask);
      const { slots } = await distribution.draw(options.k, rngKey(5, 0, 'draw'), options);
      expect(Math.max(...new Set(slots)), 'an empty slot was drawn').toBeLessThan(filled);
      let hits = 0;
      for (const [i, slot] of slots.entries()) {
        if (slot !== NONE && wrong[Math.floor(i / options.k)]!.has(table.documents[slot]!)) hits += 1;
      }
      return hits;
    };
    expect(await hitsIn(undefined, { replacement: true, k: 1000 })).toBeGreaterThan(10_000);
    expect(await hitsIn(masked, { replacement: true, k: 1000 })).toBe(0);
    expect(await hitsIn(masked, { replacement: false, k: 60 })).toBe(0);
  });

  it('masked slots are not part of Z, even if they had nearly all of it', async () => {
    const N = 2 * BLOCK_ROWS;
    const embeddings = normals(N, 'table', 0.1);
    embeddings.set([9, 9, 9, 9], 70 * D);
    embeddings.set([9, 9, 9, 8], 71 * D);
    const source = makeScores(N, { embeddings });
    const queries = Float32Array.of(1, 1, 1, 1);
    const masked = [70, 71];
    const distribution = await TableDistribution.create(
      source,
      queries,
      maskedSlotLists(1, () => masked),
    );
    const expected = reference(source, queries, masked);
    expect(distribution.logPartition[0]).toBeCloseTo(expected.logZ, 5);
    const { slots } = await distribution.draw(20_000, rngKey(6, 0, 'draw'), { replacement: true });
    expectDistribution(counts(slots, N), expected.p);
  });

  it('leaves slots out of large tables, wherever they lie', async () => {
    const N = 2 * GROUP_ROWS + 3 * BLOCK_ROWS + 9;
    const source = makeScores(N);
    const B = 3;
    const queries = normals(B, 'queries', 2);
    const own = (b: number) => queries.subarray(b * D, (b + 1) * D);
    // The likeliest of each query, some of one block, and ends of groups and of the table.
    const masks = Array.from({ length: B }, (_, b) => {
      const { p } = reference(source, own(b));
      const likeliest = [...p.keys()].sort((x, y) => p[y]! - p[x]!).slice(0, 40);
      return [...likeliest, 700, 701, 702, GROUP_ROWS - 1, GROUP_ROWS, N - 1];
    });
    const masked = maskedSlotLists(B, (b) => masks[b]!.slice(0, 20));
    const exclude = maskedSlotLists(B, (b) => masks[b]!.slice(10));
    const distribution = await TableDistribution.create(source, queries, masked);
    const draws = 60_000;
    const options = { replacement: true, exclude };
    const { slots } = await distribution.draw(draws, rngKey(9, 0, 'draw'), options);
    for (let b = 0; b < B; b++) {
      const drawn = slots.subarray(b * draws, (b + 1) * draws);
      expectDistribution(counts(drawn, N), reference(source, own(b), masks[b]).p);
      const { logZ } = reference(source, own(b), masks[b]!.slice(0, 20));
      expect(distribution.logPartition[b]).toBeCloseTo(logZ, 4);
    }
    const once = await distribution.draw(300, rngKey(9, 1, 'draw'), { exclude });
    for (let b = 0; b < B; b++) {
      const drawn = new Set(once.slots.subarray(b * 300, (b + 1) * 300));
      expect(drawn.size).toBe(300);
      expect(masks[b]!.filter((slot) => drawn.has(slot))).toEqual([]);
      expect(drawn).not.toContain(NONE);
    }
  });

  it('excluded slots are not drawn; the partition function is as before', async () => {
    const N = 90;
    const source = makeScores(N);
    const queries = normals(1, 'queries');
    const distribution = await TableDistribution.create(source, queries);
    const exclude = maskedSlotLists(1, () => [0, 1, 2, 80]);
    const { slots } = await distribution.draw(20_000, rngKey(6, 1, 'draw'), { replacement: true, exclude });
    expectDistribution(counts(slots, N), reference(source, queries, [0, 1, 2, 80]).p);
    const again = await distribution.draw(20_000, rngKey(6, 1, 'draw'), { replacement: true });
    expectDistribution(counts(again.slots, N), reference(source, queries).p);
    expect(distribution.logPartition[0]).toBeCloseTo(reference(source, queries).logZ, 5);
  });

  it('with nothing to draw from, gives no slot and a partition function of nearly 0', async () => {
    const source = makeScores(3);
    const all = maskedSlotLists(1, () => [0, 1, 2]);
    const empty = new TableScores(new ScoreTable({ rows: 8, dimension: D, documents: 8 }), { threads: 1 });
    open.push(empty);
    for (const distribution of [
      await TableDistribution.create(source, normals(1, 'queries'), all),
      await TableDistribution.create(empty, normals(1, 'queries')),
    ]) {
      expect(distribution.logPartition[0]).toBe(Math.fround(MASKED_SCORE));
      for (const replacement of [true, false]) {
        const { slots, scores } = await distribution.draw(2, rngKey(1, 0, 'draw'), { replacement });
        expect([...slots]).toEqual([NONE, NONE]);
        expect([...scores]).toEqual([Math.fround(MASKED_SCORE), Math.fround(MASKED_SCORE)]);
      }
    }
  });

  it('draws depend on the key and on the query, not on the other queries', async () => {
    const source = makeScores(300);
    const queries = normals(6, 'queries');
    const draw = async (q: Float32Array, seed: number, step: number) =>
      (await (await TableDistribution.create(source, q)).draw(5, rngKey(seed, step, 'draw'))).slots;
    const first = await draw(queries, 1, 0);
    expect(await draw(queries, 1, 0)).toEqual(first);
    expect(await draw(queries, 1, 1)).not.toEqual(first);
    expect(await draw(queries, 2, 0)).not.toEqual(first);
    const changed = queries.slice();
    changed.set([9, -9, 9, -9], 5 * D);
    expect((await draw(changed, 1, 0)).subarray(0, 25)).toEqual(first.subarray(0, 25));
  });

  it('reads f16 tables', async () => {
    const source = makeScores(150, { storage: 'f16' });
    const queries = normals(1, 'queries');
    const distribution = await TableDistribution.create(source, queries);
    const expected = reference(source, queries);
    expect(distribution.logPartition[0]).toBeCloseTo(expected.logZ, 4);
    const { slots, scores } = await distribution.draw(20_000, rngKey(8, 0, 'draw'), { replacement: true });
    expectDistribution(counts(slots, 150), expected.p);
    expect(scores[0]).toBeCloseTo(expected.scores[slots[0]!]!, 4);
  });

  it('refuses embeddings that are NaN, and masks of another batch', async () => {
    const embeddings = normals(100, 'table');
    embeddings[4 * 77] = Number.NaN;
    await expect(
      TableDistribution.create(makeScores(100, { embeddings }), normals(2, 'queries')),
    ).rejects.toThrow(UndriftError);
    const wide = normals(GROUP_ROWS + 9, 'table');
    wide[4 * 77] = Number.NaN;
    await expect(
      TableDistribution.create(makeScores(GROUP_ROWS + 9, { embeddings: wide }), normals(2, 'queries')),
    ).rejects.toThrow(UndriftError);
    await expect(
      TableDistribution.create(
        makeScores(100),
        normals(2, 'queries'),
        maskedSlotLists(3, () => []),
      ),
    ).rejects.toThrow('masks of 3 queries for 2');
    await expect(TableDistribution.create(makeScores(100), new Float32Array(3))).rejects.toThrow(
      '3 numbers are no whole number of queries of dimension 4',
    );
  });
});
