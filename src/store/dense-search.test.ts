import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { backfill } from '../migration/backfill.ts';
import { startMigration } from '../migration/migrate-store.ts';
import { filterSql, parseCondition } from './filter.ts';
import { indexPassages } from './index-passages.ts';
import { buildApproximateIndex } from './maintain.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const COUNT = 6000;
const text = (i: number) =>
  phraseText([i, i >> 1, i * 7, i >> 3, i * 13, i >> 5, i * 29, i >> 7, i % 17, i % 23]);
const QUERIES = Array.from({ length: 12 }, (_, i) => text(i * 479 + 3));
let store: Store;
let searcher: StoreSearcher;

beforeAll(async () => {
  store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  const passages = Array.from({ length: COUNT }, (_, i) => ({
    id: `p${i}`,
    text: text(i),
    metadata: { n: i, third: i % 3 === 0, rare: i % 600 === 7 },
  }));
  await indexPassages(store, old, passages, { model: 'old', ...compute });
  searcher = new StoreSearcher(store, compute);
}, 120_000);
afterAll(() => searcher?.dispose());

/** Searches exactly and approximately, and returns the share of the exact scores that the approximate search reaches. */
async function recall(topK: number, conditions: readonly string[] = []): Promise<number> {
  const filter = conditions.map(parseCondition);
  let [reached, total] = [0, 0];
  const settings = { mode: 'dense', topK, filter } as const;
  const exact = await searcher.searchAll(QUERIES, settings);
  const found = await searcher.searchAll(QUERIES, { ...settings, approximate: { probes: 4 } });
  for (const [q, hits] of found.entries()) {
    expect(hits.length).toBe(exact[q]!.length);
    expect(new Set(hits.map(({ id }) => id)).size).toBe(hits.length);
    for (const [i, { score, metadata }] of hits.entries()) {
      if (i > 0) expect(score).toBeLessThanOrEqual(hits[i - 1]!.score);
      for (const { field, value } of filter) expect([field, metadata?.[field]]).toEqual([field, value]);
    }
    // By scores: texts that are equal for the model are exchangeable.
    const worst = (exact[q]!.at(-1)?.score ?? 0) - 1e-5;
    reached += hits.filter(({ score }) => score >= worst).length;
    total += hits.length;
  }
  return reached / total;
}

describe('approximate search', () => {
  it('is refused without an index, with and without a filter', async () => {
    for (const filter of [[], [parseCondition('rare=true')]]) {
      const search = searcher.search('bytes', { mode: 'dense', approximate: true, filter });
      await expect(search).rejects.toThrow(/no index for approximate search[\s\S]*--approximate/);
    }
  });

  it('finds nearly what exact search finds, and as many passages with every filter', async () => {
    await buildApproximateIndex(store, store.head.current!, 'ivf');
    expect(await recall(10)).toBeGreaterThan(0.9);
    // Two thirds fulfil the condition: the index is asked for more.
    expect(await recall(10, ['third=false'])).toBeGreaterThan(0.9);
    // Few fulfil it: exact.
    expect(await recall(10, ['rare=true'])).toBe(1);
    expect(await recall(10, ['n=17'])).toBe(1);
    expect(await recall(10, ['n=-1'])).toBeNaN();
    // More than four partitions hold: exact again.
    expect(await recall(5000, ['third=false'])).toBe(1);
    expect(await recall(5000)).toBeGreaterThan(0.99);
  });

  it('is compared with exact search, which finds the same from memory and from the disk with every filter', async () => {
    const fromDisk = new StoreSearcher(store, { ...compute, memoryBytes: 0 });
    for (const condition of ['third=false', 'third=true', 'n<5990', 'n<300', 'rare=true', 'n=-1']) {
      for (const topK of [10, 2500]) {
        const settings = { mode: 'dense', topK, filter: [parseCondition(condition)] } as const;
        const queries = QUERIES.slice(0, 3);
        const expected = await fromDisk.rank(queries, settings);
        for (const [q, { rows, scores }] of (await searcher.rank(queries, settings)).entries()) {
          expect([condition, rows]).toEqual([condition, expected[q]!.rows]);
          for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[q]!.scores[i]!, 5);
        }
      }
    }
    await fromDisk.dispose();
  });

  it('gives the scores of the stored vectors, whether these are in memory or not', async () => {
    const cold = new StoreSearcher(store, compute);
    const settings = { mode: 'dense', topK: 10, approximate: { refine: 20 } } as const;
    const [fromDisk, fromMemory] = [
      await cold.rank(QUERIES, settings),
      await searcher.rank(QUERIES, settings),
    ];
    for (const [q, { rows, scores }] of fromDisk.entries()) {
      expect(rows.length).toBe(10);
      for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(fromMemory[q]!.scores[i]!, 5);
    }
    await cold.dispose();
  });

  it('goes on during a migration: exactly until the new vectors have an index, and with moved vectors after that', async () => {
    await startMigration(store, fresh, { sample: 200, correctors: ['ridge'], ...compute });
    expect(await recall(10)).toBe(1);
    await backfill(store, fresh, { until: 0.6, commitRows: 2000, ...compute });
    await buildApproximateIndex(store, store.head.current!, 'ivf');
    expect(await recall(10)).toBeGreaterThan(0.95);
    expect(await recall(10, ['third=false'])).toBeGreaterThan(0.95);
    expect(await recall(10, ['rare=true'])).toBe(1);
    // Among the best are passages that the new model has not embedded.
    const { embeddings } = await store.snapshot();
    const hits = await searcher.searchAll(QUERIES, { mode: 'dense', topK: 10, approximate: true });
    const pids = hits.flat().map(({ pid }) => pid);
    const embedded = await embeddings(store.head.current!).having(pids);
    expect(pids.filter((pid) => !embedded.has(pid)).length).toBeGreaterThan(10);
    await backfill(store, fresh, compute);
    expect(await recall(10)).toBeGreaterThan(0.9);
  }, 120_000);
});

describe('the index for approximate search', () => {
  it.each([
    ['ivf', 32],
    ['ivf', 36],
    ['hnsw', 36],
  ] as const)('of kind %s is built over few vectors of %i dimensions', async (kind, hidden) => {
    const few = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
    const model = smallRetriever({ kind: 'static', hidden });
    const passages = [3, 50, 700].map((i) => ({ id: `p${i}`, text: text(i) }));
    await indexPassages(few, model, passages, { model: 'small', ...compute });
    await buildApproximateIndex(few, few.head.current!, kind);
    expect(await (await few.snapshot()).embeddings(few.head.current!).approximate()).toBe(kind);
    const own = new StoreSearcher(few, compute);
    const hits = await own.search(text(50), { mode: 'dense', topK: 3, approximate: true });
    expect(hits.map(({ id }) => id)).toEqual(
      (await own.search(text(50), { mode: 'dense', topK: 3 })).map(({ id }) => id),
    );
    await own.dispose();
  });
});

describe('search by terms', () => {
  it('ranks what fulfils a condition as a search that evaluates it', async () => {
    const { passages } = await store.snapshot();
    for (const condition of ['rare=true', 'third=true', 'n<5000', 'n=17', 'n=-1']) {
      const filter = [parseCondition(condition)];
      for (const topK of [1, 10, 300]) {
        const found = await searcher.rank(['bytes encoding number', 'array'], { mode: 'bm25', topK, filter });
        for (const [i, terms] of [['bytes', 'encoding', 'number'], ['array']].entries()) {
          const expected = await passages.search(terms, topK, filterSql(filter));
          // Which of the passages with equal scores are cut is not defined.
          const rounded = (scores: readonly number[]) => scores.map((score) => score.toFixed(4));
          const scores = expected.map(({ score }) => score);
          expect([condition, topK, rounded(found[i]!.scores)]).toEqual([condition, topK, rounded(scores)]);
        }
      }
    }
  });
});
