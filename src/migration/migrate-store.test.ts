import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { storeStatus } from '../store/store-status.ts';
import { openVectors } from '../store/vector-source.ts';
import { backfill } from './backfill.ts';
import { cutOver, rollBack, startMigration } from './migrate-store.ts';
import { planMigration } from './plan-migration.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(fresh)];
const passages = Array.from({ length: 400 }, (_, i) => ({
  id: `p${i}`,
  text: phraseText([i, i * 7, i * 13, i * 29, i >> 3]),
}));

async function indexed(): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  await indexPassages(store, old, passages, { model: 'old', ...compute });
  return store;
}

/** Returns the vectors of the current space by passage. */
async function vectorsOf(store: Store): Promise<Map<number, Float32Array>> {
  const source = await openVectors(store, await store.snapshot(), store.head.current!, compute);
  const found = new Map<number, Float32Array>();
  for await (const { pids, vectors } of source.stream()) {
    for (const [row, pid] of pids.entries()) {
      expect(found.has(pid)).toBe(false);
      found.set(pid, vectors.slice(row * source.dimension, (row + 1) * source.dimension));
    }
  }
  await source.dispose();
  return found;
}

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe('a migration', () => {
  it('serves all passages at once, by corrected vectors until the new model has embedded them', async () => {
    const store = await indexed();
    const chosen = await startMigration(store, fresh, {
      sample: 150,
      correctors: ['procrustes', 'ridge'],
      ...compute,
    });
    for (const { sample, heldOutError, staleError } of [chosen.documents, chosen.queries]) {
      expect(sample).toBe(150);
      expect(heldOutError).toBeLessThan(staleError!);
    }
    expect(store.head).toMatchObject({ current: to, migration: { from, to } });
    const expected = await fresh.encode(
      'document',
      passages.map(({ text }) => text),
      compute,
    );
    const truth = (pid: number) => expected.subarray(pid * 32, (pid + 1) * 32);
    const mixed = await vectorsOf(store);
    expect(mixed.size).toBe(400);
    const likeness = [...mixed].map(([pid, vector]) => dot(vector, truth(pid)));
    // The sample has true vectors, the others moved ones.
    expect(likeness.filter((value) => value > 0.9999).length).toBeGreaterThanOrEqual(150);
    expect(likeness.reduce((a, b) => a + b) / 400).toBeGreaterThan(0.8);

    const half = await backfill(store, fresh, { until: 0.5, commitRows: 30, ...compute });
    expect(half).toEqual({ embedded: 50, missing: 200 });
    await expect(cutOver(store)).rejects.toThrow(/200 passages are not embedded/);
    expect(await backfill(store, fresh, compute)).toEqual({ embedded: 200, missing: 0 });
    for (const [pid, vector] of await vectorsOf(store)) expect(dot(vector, truth(pid))).toBeCloseTo(1, 4);

    await cutOver(store);
    expect(store.head).toMatchObject({ current: to, migration: null, bridges: [], spaces: [{ id: to }] });
    const { folder } = store;
    await store.close();
    expect(await storeStatus(await Store.open(folder))).toMatchObject({
      spaces: [{ id: to, rows: 400, share: 1 }],
    });
  });

  it('is undone, with passages of the meantime embedded by the former model', async () => {
    const store = await indexed();
    await startMigration(store, fresh, { sample: 100, correctors: ['ridge'], ...compute });
    await indexPassages(
      store,
      fresh,
      [
        { id: 'new', text: 'whole new file' },
        { id: 'p3', text: 'opens bytes' },
      ],
      compute,
    );
    expect(await rollBack(store, old, compute)).toBe(2);
    expect(store.head).toMatchObject({ current: from, migration: null });
    const found = await vectorsOf(store);
    const [expected] = [await old.encode('document', ['whole new file'], compute)];
    expect(dot(found.get(400)!, expected)).toBeCloseTo(1, 4);
    const searcher = new StoreSearcher(store, compute);
    expect((await searcher.search('whole new file', { mode: 'dense', topK: 1 }))[0]!.id).toBe('new');
  });

  it('is planned from a sample, without a trace in the store', async () => {
    const store = await indexed();
    const before = structuredClone(store.head);
    const plan = await planMigration(store, fresh, {
      model: 'new',
      sample: 100,
      correctors: ['ridge'],
      ...compute,
    });
    expect(plan).toMatchObject({
      passages: 400,
      missing: 400,
      kind: 'ridge',
      sample: 100,
      to: { model: 'new' },
    });
    expect(plan.overlap).toBeGreaterThan(0.2);
    expect(plan.seconds).toBeGreaterThan(0);
    expect(store.head).toEqual(before);
  });

  it('is refused twice, to the same model, and of an empty store', async () => {
    const store = await indexed();
    await expect(startMigration(store, old, compute)).rejects.toThrow(/vectors of this model already/);
    await startMigration(store, fresh, { sample: 50, correctors: ['ridge'], ...compute });
    await expect(startMigration(store, fresh, compute)).rejects.toThrow(/is under way[\s\S]*rollback/);
    const empty = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
    await expect(planMigration(empty, old)).rejects.toThrow(/no vectors yet/);
    await expect(cutOver(empty)).rejects.toThrow(/no migration is under way/);
  });
});
