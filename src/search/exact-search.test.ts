import { afterEach, describe, expect, it } from 'vitest';
import { UndriftError } from '../util/errors.ts';
import { rngKey, uniform } from '../util/rng.ts';
import { ExactIndex, type ExactIndexOptions } from './exact-search.ts';

const D = 8;
const open: ExactIndex[] = [];
afterEach(async () => {
  for (const index of open.splice(0)) await index.dispose();
});

function makeIndex(embeddings: Float32Array, options: ExactIndexOptions = {}, dimension = D): ExactIndex {
  const index = ExactIndex.create(embeddings, dimension, { threads: 1, ...options });
  open.push(index);
  return index;
}

function randoms(rows: number, purpose: string, dimension = D): Float32Array {
  const values = new Float32Array(rows * dimension);
  uniform(rngKey(3, 0, purpose), values);
  return values.map((u) => 2 * u - 1);
}

/** Values of a few steps: products and sums are exact, so that ties are frequent and equal everywhere. */
const coarse = (values: Float32Array) => values.map((value) => Math.round(2 * value) / 2);

/** Every score, sorted. */
function naive(
  embeddings: Float32Array,
  queries: Float32Array,
  k: number,
  ties = (a: number, b: number) => a - b,
) {
  const N = embeddings.length / D;
  const rows: number[] = [];
  const scores: number[] = [];
  for (let b = 0; b < queries.length / D; b++) {
    const all = Array.from({ length: N }, (_, row) => {
      let score = 0;
      for (let d = 0; d < D; d++) score += queries[b * D + d]! * embeddings[row * D + d]!;
      return { row, score };
    });
    all.sort((x, y) => y.score - x.score || ties(x.row, y.row));
    rows.push(...all.slice(0, k).map(({ row }) => row));
    scores.push(...all.slice(0, k).map(({ score }) => score));
  }
  return { rows, scores };
}

describe('ExactIndex', () => {
  it.each([
    { N: 1000, B: 70, k: 10, blockRows: 128 }, // a last block that overlaps, two query batches
    { N: 1024, B: 3, k: 10, blockRows: 128 }, // blocks that fit
    { N: 1000, B: 3, k: 300, blockRows: 128 }, // k above the block
    { N: 50, B: 2, k: 10, blockRows: 16_384 }, // one block
    { N: 129, B: 1, k: 129, blockRows: 128 }, // everything
    { N: 7, B: 2, k: 3, blockRows: 1 },
  ])('equals the naive search: $N rows, $B queries, top $k, blocks of $blockRows', async (setting) => {
    const { N, B, k, blockRows } = setting;
    const embeddings = coarse(randoms(N, 'embeddings'));
    const queries = coarse(randoms(B, 'queries'));
    const found = await makeIndex(embeddings, { blockRows }).search(queries, k);
    const expected = naive(embeddings, queries, k);
    expect(found.k).toBe(k);
    expect([...found.rows]).toEqual(expected.rows);
    expect([...found.scores]).toEqual(expected.scores);
    // The data must have ties at the cut; otherwise the test of their order would prove nothing.
    expect(new Set(found.scores).size).toBeLessThan(found.scores.length);
  });

  it.each([
    { N: 1000, B: 70, k: 10, blockRows: 128 },
    { N: 1000, B: 3, k: 300, blockRows: 128 },
    { N: 129, B: 1, k: 129, blockRows: 128 },
    { N: 50, B: 2, k: 1, blockRows: 16_384 },
  ])('cuts ties by a given order: $N rows, $B queries, top $k, blocks of $blockRows', async (setting) => {
    const { N, B, k, blockRows } = setting;
    const embeddings = coarse(randoms(N, 'embeddings'));
    const queries = coarse(randoms(B, 'queries'));
    // 7 has no common factor with any N: an order in which neighbours are far apart.
    const ties = (a: number, b: number) => ((7 * b) % N) - ((7 * a) % N);
    const found = await makeIndex(embeddings, { blockRows }).search(queries, k, { ties });
    const expected = naive(embeddings, queries, k, ties);
    expect([...found.rows]).toEqual(expected.rows);
    expect([...found.scores]).toEqual(expected.scores);
    if (k > 1) expect(expected.rows).not.toEqual(naive(embeddings, queries, k).rows);
  });

  it('finds rows by real-valued scores too', async () => {
    const embeddings = randoms(500, 'embeddings');
    const queries = randoms(5, 'queries');
    const found = await makeIndex(embeddings, { blockRows: 64 }).search(queries, 7);
    const expected = naive(embeddings, queries, 7);
    expect([...found.rows]).toEqual(expected.rows);
    for (const [i, score] of found.scores.entries()) expect(score).toBeCloseTo(expected.scores[i]!, 5);
  });

  it('returns every row if k is larger than the index', async () => {
    const found = await makeIndex(coarse(randoms(5, 'embeddings'))).search(
      coarse(randoms(2, 'queries')),
      100,
    );
    expect(found.k).toBe(5);
    expect([...found.rows.subarray(0, 5)].sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it('orders equal scores by row across blocks, and keeps the first of them', async () => {
    const found = await makeIndex(new Float32Array(100 * D).fill(1), { blockRows: 8 }).search(
      new Float32Array(D).fill(1),
      20,
    );
    expect([...found.rows]).toEqual(Array.from({ length: 20 }, (_, row) => row));
  });

  it('handles no queries, and several k on one index', async () => {
    const index = makeIndex(randoms(40, 'embeddings'), { blockRows: 16 });
    expect((await index.search(new Float32Array(0), 10)).rows).toHaveLength(0);
    const queries = randoms(2, 'queries');
    const ten = await index.search(queries, 10);
    const three = await index.search(queries, 3);
    expect([...three.rows]).toEqual([...ten.rows.subarray(0, 3), ...ten.rows.subarray(10, 13)]);
  });

  it('reports progress', async () => {
    const seen: number[] = [];
    await makeIndex(randoms(40, 'embeddings')).search(randoms(130, 'queries'), 2, {
      onProgress: ({ done }) => seen.push(done),
    });
    expect(seen).toEqual([64, 128, 130]);
  });

  it('names the row of an embedding that is not finite', async () => {
    const embeddings = randoms(20, 'embeddings');
    embeddings[13 * D + 2] = Number.NaN;
    expect(() => makeIndex(embeddings)).toThrow(/the corpus: row 13 holds NaN at position 2/);
    const queries = randoms(2, 'queries');
    queries[D] = Number.POSITIVE_INFINITY;
    await expect(makeIndex(randoms(20, 'embeddings')).search(queries, 3)).rejects.toThrow(
      /the queries: row 1 holds Infinity/,
    );
  });

  it('says so where a product overflows to NaN', async () => {
    const embeddings = new Float32Array(4 * D).fill(1e38).map((value, i) => (i % 2 ? value : -value));
    await expect(makeIndex(embeddings).search(new Float32Array(D).fill(1e38), 2)).rejects.toThrow(
      /score is not a number/,
    );
  });

  it('refuses invalid arguments', async () => {
    expect(() => makeIndex(new Float32Array(0))).toThrow(UndriftError);
    expect(() => makeIndex(new Float32Array(D + 1))).toThrow(/no whole number of rows/);
    expect(() => makeIndex(randoms(3, 'embeddings'), { blockRows: 0 })).toThrow(/blockRows/);
    const index = makeIndex(randoms(3, 'embeddings'));
    await expect(index.search(randoms(1, 'queries'), 0)).rejects.toThrow(/topK/);
    await expect(index.search(new Float32Array(D - 1), 1)).rejects.toThrow(/dimension/);
  });
});
