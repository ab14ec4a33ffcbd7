import { afterEach, describe, expect, it } from 'vitest';
import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UndriftError } from '../util/errors.ts';
import { normal, randomInts, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { ScoreTable } from './score-table.ts';
import { BLOCK_ROWS, TableScores } from './table-scores.ts';

const D = 3;
const open: TableScores[] = [];
afterEach(async () => {
  for (const scores of open.splice(0)) await scores.dispose();
});

interface Setting {
  filled: number;
  rows?: number;
  storage?: 'f32' | 'f16';
  coarse?: boolean;
  keptScores?: number;
}

function makeScores({ filled, rows = filled, storage = 'f32', coarse = false, ...rest }: Setting) {
  const embeddings = new Float32Array(filled * D);
  normal(rngKey(1, 0, 'table'), embeddings);
  // Values of a few steps make exact products, so that ties are frequent and equal everywhere.
  if (coarse) for (const [i, x] of embeddings.entries()) embeddings[i] = Math.round(x);
  const table = new ScoreTable({ rows, dimension: D, documents: rows, storage });
  table.fill(
    Int32Array.from({ length: filled }, (_, n) => n),
    embeddings,
  );
  const scores = new TableScores(table, { threads: 1, ...rest });
  open.push(scores);
  return scores;
}

function makeQueries(B: number, coarse = false): Float32Array {
  const queries = new Float32Array(B * D);
  normal(rngKey(1, 0, 'queries'), queries);
  return coarse ? queries.map(Math.round) : queries;
}

/** All scores [B][N] in double precision. */
function naiveScores({ table }: TableScores, queries: Float32Array): number[][] {
  const rows = table.read(Int32Array.from({ length: table.filled }, (_, n) => n));
  return Array.from({ length: queries.length / D }, (_, b) =>
    Array.from({ length: table.filled }, (_, n) => {
      let score = 0;
      for (let d = 0; d < D; d++) score += queries[b * D + d]! * rows[n * D + d]!;
      return score;
    }),
  );
}

describe('blockLogSumExp', () => {
  it.each([
    { filled: 1, rows: 500, B: 2 },
    { filled: BLOCK_ROWS, B: 3 },
    { filled: 5 * BLOCK_ROWS, rows: 7 * BLOCK_ROWS, B: 2 },
    { filled: 5 * BLOCK_ROWS + 1, B: 2 },
    // Runs of 16 pieces, single pieces, and a part of a block: pieces of one block for so many queries, of several for fewer.
    { filled: 18 * BLOCK_ROWS + 5, B: 1100 },
    { filled: 115 * BLOCK_ROWS + 2, B: 160 },
    { filled: 115 * BLOCK_ROWS + 2, B: 160, storage: 'f16' as const },
    { filled: 200, B: 2, storage: 'f16' as const },
  ])('is the log-sum-exp of every block: $filled of $rows rows, $B queries, $storage', async (setting) => {
    const source = makeScores(setting);
    const queries = makeQueries(setting.B);
    const sums = await source.blockLogSumExp(queries);
    const all = naiveScores(source, queries);
    expect(sums).toHaveLength(setting.B * source.blocks);
    let worst = 0;
    for (const [b, scores] of all.entries()) {
      for (let block = 0; block < source.blocks; block++) {
        const own = scores.slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS);
        const expected = Math.log(own.reduce((sum, s) => sum + Math.exp(s), 0));
        worst = Math.max(worst, Math.abs(sums[b * source.blocks + block]! - expected));
      }
    }
    expect(worst).toBeLessThan(2e-5);
  });

  it.each([
    { filled: 115 * BLOCK_ROWS + 2, B: 160 },
    { filled: 18 * BLOCK_ROWS, B: 1100 },
    { filled: 9, B: 3, keptScores: 0 },
  ])('keeps scores of blocks on the way: $filled rows, $B queries', async (setting) => {
    const source = makeScores(setting);
    const queries = makeQueries(setting.B);
    const last = source.blocks - 1;
    const wanted = [0, 1, 5, 5, 80, last, last].flatMap((block, i) =>
      block <= last ? [{ b: (i * 37) % setting.B, block }] : [],
    );
    const { picked, kept } = await source.sums(queries, wanted);
    expect(kept).toBeUndefined();
    const expected = await source.blockScores(queries, {
      queryOf: wanted.map(({ b }) => b),
      blocks: wanted.map(({ block }) => block),
    });
    expect(picked).toHaveLength(wanted.length);
    for (const [i, scores] of picked.entries()) {
      const own = expected.subarray(i * BLOCK_ROWS, (i + 1) * BLOCK_ROWS);
      expect(scores).toHaveLength(BLOCK_ROWS);
      for (const [n, score] of scores.entries()) expect(score).toBeCloseTo(own[n]!, 4);
    }
    expect(wanted.length).toBeGreaterThan(2);
  });

  it('handles scores of any size', async () => {
    const table = new ScoreTable({ rows: BLOCK_ROWS, dimension: 1, documents: BLOCK_ROWS });
    const values = Float32Array.from({ length: BLOCK_ROWS }, (_, n) => n * 1e4);
    table.fill([...values.keys()], values);
    const source = new TableScores(table, { threads: 1 });
    open.push(source);
    const [up, down] = await source.blockLogSumExp(Float32Array.of(1, -1));
    expect(up).toBe((BLOCK_ROWS - 1) * 1e4);
    expect(Math.abs(down!)).toBeLessThan(0.1);
  });
});

describe('blockScores and pairScores', () => {
  it.each(['f32', 'f16'] as const)('are the scores of single blocks and slots (%s)', async (storage) => {
    const filled = 3 * BLOCK_ROWS + 7;
    const source = makeScores({ filled, rows: filled + 3, storage });
    const queries = makeQueries(4);
    const all = naiveScores(source, queries);
    const pairs = { queryOf: [2, 0, 3, 2], blocks: [1, 3, 0, 1] };
    const scores = await source.blockScores(queries, pairs);
    for (let u = 0; u < 4; u++) {
      for (let i = 0; i < BLOCK_ROWS; i++) {
        const expected = all[pairs.queryOf[u]!]![pairs.blocks[u]! * BLOCK_ROWS + i] ?? MASKED_SCORE;
        expect(Math.abs(scores[u * BLOCK_ROWS + i]! - expected)).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(expected)),
        );
      }
    }
    const slots = Int32Array.of(5, NONE, filled - 1, 0, 0, 100, NONE, NONE);
    const own = await source.pairScores(queries, { queryOf: slots.map((_, i) => i >> 1), slots });
    for (const [i, slot] of slots.entries()) {
      if (slot === NONE) expect(own[i]).toBe(Math.fround(MASKED_SCORE));
      else expect(own[i]).toBeCloseTo(all[i >> 1]![slot]!, 5);
    }
    expect(await source.pairScores(queries, { queryOf: [], slots: [] })).toHaveLength(0);
    expect(await source.blockScores(queries, { queryOf: [], blocks: [] })).toHaveLength(0);
  });

  it('computes many blocks in parts', async () => {
    const dimension = 256;
    const table = new ScoreTable({ rows: BLOCK_ROWS * 2, dimension, documents: BLOCK_ROWS * 2 });
    const embeddings = new Float32Array(BLOCK_ROWS * 2 * dimension);
    normal(rngKey(2, 0, 'table'), embeddings);
    table.fill(
      Array.from({ length: BLOCK_ROWS * 2 }, (_, n) => n),
      embeddings,
    );
    const source = new TableScores(table, { threads: 1 });
    open.push(source);
    const U = 600; // 128 fit at once
    const queries = new Float32Array(3 * dimension);
    normal(rngKey(2, 0, 'queries'), queries);
    const pairs = { queryOf: new Int32Array(U), blocks: new Int32Array(U) };
    randomInts(rngKey(2, 0, 'queryOf'), 3, pairs.queryOf);
    randomInts(rngKey(2, 0, 'blocks'), 2, pairs.blocks);
    const scores = await source.blockScores(queries, pairs);
    for (let u = 0; u < U; u += 37) {
      const b = pairs.queryOf[u]!;
      const slot = pairs.blocks[u]! * BLOCK_ROWS + 11;
      let expected = 0;
      for (let d = 0; d < dimension; d++)
        expected += queries[b * dimension + d]! * embeddings[slot * dimension + d]!;
      expect(scores[u * BLOCK_ROWS + 11]).toBeCloseTo(expected, 3);
    }
  });
});

describe('top', () => {
  it.each([
    { filled: 300, B: 3, k: 7 },
    { filled: 300, B: 3, k: 300 },
    { filled: 5, rows: 50, B: 2, k: 9 },
    { filled: 5000, B: 1100, k: 3 }, // three chunks
    { filled: 300, B: 2, k: 4, storage: 'f16' as const },
  ])('equals sorting, equal scores by slot: $filled rows, $B queries, top $k', async (setting) => {
    const source = makeScores({ ...setting, coarse: true });
    const queries = makeQueries(setting.B, true);
    const { slots, scores, k } = await source.top(queries, setting.k);
    const all = naiveScores(source, queries);
    for (let b = 0; b < setting.B; b += Math.ceil(setting.B / 20)) {
      const order = all[b]!.map((score, n) => ({ score, n })).sort((x, y) => y.score - x.score || x.n - y.n);
      const best = order.slice(0, k);
      while (best.length < k) best.push({ score: Math.fround(MASKED_SCORE), n: NONE });
      expect([...slots.subarray(b * k, (b + 1) * k)]).toEqual(best.map(({ n }) => n));
      expect([...scores.subarray(b * k, (b + 1) * k)].map((s) => s + 0)).toEqual(
        best.map(({ score }) => score + 0),
      );
    }
  });

  it('refuses scores that are NaN', async () => {
    const source = makeScores({ filled: 10 });
    await expect(source.top(Float32Array.of(Number.NaN, 0, 0), 2)).rejects.toThrow(UndriftError);
  });
});
