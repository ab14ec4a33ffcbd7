import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { backfill } from '../migration/backfill.ts';
import { cutOver, rollBack, startMigration } from '../migration/migrate-store.ts';
import { rngKey, uniform } from '../util/rng.ts';
import { indexPassages } from './index-passages.ts';
import { removePassages } from './maintain.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const text = (i: number) => phraseText([i, i * 7, i * 13, i * 29, i >> 3, i * 31]);
const passage = (i: number, round = 0) => ({ id: `p${i}`, text: text(i + 1000 * round) });

async function indexed(count: number): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  await indexPassages(
    store,
    old,
    Array.from({ length: count }, (_, i) => passage(i)),
    { model: 'old', ...compute },
  );
  return store;
}

const QUERIES = ['reads a file', 'opens bytes', 'number of bytes', 'whole array encoding'];

describe('a searcher', () => {
  it('follows commits by what they have changed, and finds what a new one finds', async () => {
    const store = await indexed(150);
    const searcher = new StoreSearcher(store, compute);
    await searcher.warm();
    const draws = new Float32Array(500);
    uniform(rngKey(2, 0, 'searcher'), draws);
    let drawn = 0;
    const random = (below: number) => Math.floor(draws[drawn++]! * below);
    let next = 150;
    const upsert = (retriever: typeof old) =>
      indexPassages(
        store,
        retriever,
        [passage(next++), passage(random(150), 1 + random(9)), passage(next++)],
        compute,
      );
    const steps: (() => Promise<unknown>)[] = [
      () => upsert(old),
      () => removePassages(store, [`p${random(150)}`, `p${random(150)}`]),
      () => startMigration(store, fresh, { sample: 60, correctors: ['ridge'], ...compute }),
      // More passages than each of the two spaces has.
      () => upsert(fresh),
      () => upsert(fresh),
      () => removePassages(store, [`p${random(150)}`, `p${next - 1}`]),
      () => backfill(store, fresh, { until: 0.6, commitRows: 10, ...compute }),
      () => store.optimize(),
      () => rollBack(store, old, compute),
      () => upsert(old),
      // Fitted again: the vectors that were moved are moved otherwise.
      () => startMigration(store, fresh, { sample: 100, seed: 4, correctors: ['ridge'], ...compute }),
      () => backfill(store, fresh, compute),
      () => cutOver(store),
      () => upsert(fresh),
    ];
    for (const [i, step] of steps.entries()) {
      await step();
      const other = new StoreSearcher(store, compute);
      for (const mode of ['dense', 'hybrid'] as const) {
        const options = { mode, topK: 40 };
        const [found, expected] = [await searcher.rank(QUERIES, options), await other.rank(QUERIES, options)];
        for (const [q, { rows, scores }] of found.entries()) {
          expect([i, rows]).toEqual([i, expected[q]!.rows]);
          for (const [r, score] of scores.entries()) expect(score).toBeCloseTo(expected[q]!.scores[r]!, 5);
        }
      }
      await other.dispose();
    }
    await searcher.dispose();
  }, 120_000);

  it('serves many searches at once while commits and migrations change the store', async () => {
    const store = await indexed(120);
    const searcher = new StoreSearcher(store, compute);
    let isChanging = true;
    let searches = 0;
    const search = async (worker: number) => {
      while (isChanging) {
        const mode = (['dense', 'hybrid', 'dense'] as const)[searches % 3]!;
        const filter = searches % 5 === 0 ? [{ field: 'year', is: '!=' as const, value: 1 }] : [];
        const found = await searcher.search(QUERIES[worker % 4]!, { mode, topK: 10, filter });
        searches += 1;
        expect(found.length).toBe(10);
        for (const [i, { score }] of found.entries()) {
          expect(Number.isFinite(score) && (i === 0 || score <= found[i - 1]!.score)).toBe(true);
        }
        if (searches % 7 === 0) expect((await searcher.embed(['bytes'])).length).toBe(32);
        // Leaves time for the changes.
        await sleep(20);
      }
    };
    const workers = Promise.all(Array.from({ length: 12 }, (_, i) => search(i)));
    const changes = async () => {
      for (let round = 0; round < 2; round++) {
        const [present, other] = round === 0 ? [old, fresh] : [fresh, old];
        await indexPassages(store, present, [passage(3, round), passage(200 + round)], compute);
        await startMigration(store, other, { sample: 50, correctors: ['ridge'], ...compute });
        await removePassages(store, ['p5', `p${7 + round}`]);
        await backfill(store, other, { commitRows: 40, ...compute });
        await cutOver(store);
      }
    };
    await Promise.all([changes().finally(() => (isChanging = false)), workers]);
    expect(searches).toBeGreaterThan(20);
    await searcher.dispose();
  }, 120_000);

  it('reads what another process commits without holding up searches', async () => {
    const theirs = await indexed(60);
    const store = await Store.open(theirs.folder);
    const searcher = new StoreSearcher(store, compute);
    await searcher.warm();
    await indexPassages(theirs, old, [{ id: 'new', text: 'opens opens opens bytes' }], compute);
    const top = async () =>
      (await searcher.search('opens opens opens bytes', { mode: 'dense', topK: 1 }))[0]!.id;
    expect(await top()).not.toBe('new');
    const reloaded = searcher.reload();
    expect(await top()).not.toBe('new');
    await reloaded;
    expect(await top()).toBe('new');
    // Tables that another process has removed: the search is repeated on the commit that removed them.
    await startMigration(theirs, fresh, { sample: 40, correctors: ['ridge'], ...compute });
    await backfill(theirs, fresh, compute);
    await cutOver(theirs);
    const fromDisk = new StoreSearcher(store, { ...compute, memoryBytes: 0 });
    expect((await fromDisk.search('bytes', { mode: 'dense', topK: 3 })).length).toBe(3);
    await searcher.dispose();
    await fromDisk.dispose();
  }, 60_000);
});
