import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { buildApproximateIndex } from '../store/maintain.ts';
import { Store } from '../store/store.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { storeStatus } from '../store/store-status.ts';
import { openVectors } from '../store/vector-source.ts';
import type { Progress } from '../util/progress.ts';
import { backfill } from './backfill.ts';
import { LazyRefresh } from './lazy-refresh.ts';
import { cutOver, rollBack, startMigration } from './migrate-store.ts';
import { planMigration } from './plan-migration.ts';
import { storeKeeper } from './row-keeper.ts';

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
    const commits = vi.spyOn(store, 'commit');
    const chosen = await startMigration(store, fresh, {
      sample: 150,
      correctors: ['procrustes', 'ridge'],
      ...compute,
    });
    // No reader sees the migration without its sample.
    expect(commits).toHaveBeenCalledOnce();
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

  it.each(['ivf', 'hnsw'] as const)(
    'builds the kind of index that the former vectors have: %s',
    async (kind) => {
      const store = await indexed();
      await buildApproximateIndex(store, from, kind);
      const model = smallRetriever({ kind: 'static', hidden: 36, seed: 11 });
      const space = embeddingSpaceId(model);
      await startMigration(store, model, { sample: 50, correctors: ['ridge'], ...compute });
      const stages: string[] = [];
      const onProgress = ({ stage, done, total }: Progress) => stages.push(`${stage} ${done}/${total}`);
      const kindNow = async () => (await store.snapshot()).embeddings(space).approximate();
      await backfill(store, model, { until: 0.5, onProgress, ...compute });
      expect(await kindNow()).toBeUndefined();
      await backfill(store, model, { onProgress, ...compute });
      expect(stages.slice(-2)).toEqual([`build index (${kind}) 0/400`, `build index (${kind}) 400/400`]);
      expect(await kindNow()).toBe(kind);
      const { length } = stages;
      await cutOver(store, { onProgress });
      expect(stages.length).toBe(length);
      expect(await kindNow()).toBe(kind);
      const searcher = new StoreSearcher(store, compute);
      const settings = { mode: 'dense', topK: 3 } as const;
      // Texts of the same words have equal vectors.
      const best = async (approximate: boolean) =>
        (await searcher.search(passages[7]!.text, { ...settings, approximate }))[0]!.score;
      expect(await best(true)).toBeCloseTo(await best(false), 5);
    },
  );

  it('builds the index at the cutover where others than a backfill have embedded the passages', async () => {
    const store = await indexed();
    await buildApproximateIndex(store, from, 'ivf');
    await startMigration(store, fresh, { sample: 50, correctors: ['ridge'], ...compute });
    const stages: string[] = [];
    await new LazyRefresh(storeKeeper(store, fresh, to, compute)).run();
    await indexPassages(store, old, [{ id: 'late', text: 'opens a file' }], compute);
    const onProgress = ({ stage }: Progress) => stages.push(stage);
    await expect(cutOver(store, { onProgress })).rejects.toThrow(/1 passages are not embedded/);
    expect(stages).toEqual([]);
    await new LazyRefresh(storeKeeper(store, fresh, to, compute)).run();
    await cutOver(store, { onProgress });
    expect(stages).toEqual(['build index (ivf)', 'build index (ivf)']);
    expect(await (await store.snapshot()).embeddings(to).approximate()).toBe('ivf');
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

  it('of queries serves the vectors as they are, and is continued by one of documents', async () => {
    const store = await indexed();
    const before = await vectorsOf(store);
    const { queries } = await startMigration(store, fresh, {
      adapter: 'queries',
      sample: 150,
      correctors: ['ridge'],
      ...compute,
    });
    expect(queries.direction).toBe('queries');
    expect(store.head).toMatchObject({ current: from, migration: { from, to, adapter: 'queries' } });
    expect(await vectorsOf(store)).toEqual(before);
    const searcher = new StoreSearcher(store, compute);
    const texts = passages.slice(200, 240).map(({ text }) => text);
    const likeness = async (vectors: Float32Array, model: typeof old) => {
      const own = await model.encode('query', texts, compute);
      return own.reduce((sum, value, i) => sum + value * vectors[i]!, 0) / texts.length;
    };
    const moved = await searcher.embed(texts);
    const [unmoved, now] = [
      await fresh.encode('query', texts, compute),
      await old.encode('query', texts, compute),
    ];
    expect(await likeness(moved, old)).toBeGreaterThan((await likeness(unmoved, old)) + 0.1);
    // By name, a space is searched by its own model.
    const own = new StoreSearcher(store, { ...compute, space: from });
    for (const [i, value] of (await own.embed(texts)).entries()) expect(value).toBeCloseTo(now[i]!, 5);
    const found = await searcher.search(texts[7]!, { mode: 'dense', topK: 5 });
    expect(found.map(({ text }) => text)).toContain(texts[7]);
    await expect(cutOver(store)).rejects.toThrow(/not embedded[\s\S]*--adapter documents/);

    await startMigration(store, fresh, { sample: 150, correctors: ['ridge'], ...compute });
    expect(store.head).toMatchObject({ current: to, migration: { adapter: 'documents' } });
    for (const [i, value] of (await searcher.embed(texts)).entries())
      expect(value).toBeCloseTo(unmoved[i]!, 5);
    await backfill(store, fresh, compute);
    await cutOver(store);
    expect(readdirSync(join(store.folder, 'encoders'))).toEqual([to]);
    expect(readdirSync(join(store.folder, 'correctors'))).toEqual([]);
  });

  it('of queries is undone without any work', async () => {
    const store = await indexed();
    await startMigration(store, fresh, { adapter: 'queries', sample: 50, correctors: ['ridge'], ...compute });
    await expect(
      startMigration(store, fresh, { adapter: 'queries', sample: 50, ...compute }),
    ).rejects.toThrow(/is under way/);
    expect(await rollBack(store, old, compute)).toBe(0);
    const searcher = new StoreSearcher(store, compute);
    const now = await old.encode('query', ['opens a file'], compute);
    expect(dot(await searcher.embed(['opens a file']), now)).toBeCloseTo(1, 4);
  });

  it('leaves out passages of the sample that have changed since they were embedded', async () => {
    const store = await indexed();
    const changing: Pick<typeof fresh, 'encode'> = {
      async encode(...given) {
        const vectors = await fresh.encode(...given);
        await indexPassages(store, old, [{ id: 'p5', text: 'calls returns array' }], compute);
        return vectors;
      },
    };
    const model = Object.assign(Object.create(fresh), changing) as typeof fresh;
    await startMigration(store, model, { sample: 400, correctors: ['ridge'], ...compute });
    const { pid } = (await (await store.snapshot()).passages.known(['p5'])).get('p5')!;
    const table = (await store.snapshot()).embeddings(to);
    expect((await table.having([pid])).size).toBe(0);
    expect(await table.count()).toBe(399);
  });

  it('is planned from a sample, without a trace in the store', async () => {
    const store = await indexed();
    const before = structuredClone(store.head);
    const plan = await planMigration(store, fresh, {
      model: 'new',
      sample: 100,
      correctors: ['ridge'],
      pricePerHour: 36,
      threshold: 0.8,
      ...compute,
    });
    expect(plan).toMatchObject({
      passages: 400,
      missing: 400,
      kind: 'ridge',
      sample: 100,
      to: { model: 'new' },
    });
    expect(plan.queries).toMatchObject({ direction: 'queries', kind: 'ridge', sample: 100 });
    for (const overlap of [plan.overlap, plan.queries.overlap]) expect(overlap).toBeGreaterThan(0.6);
    expect(plan.oldOverlap).toBeLessThan(1);
    expect(plan.seconds).toBeGreaterThan(0);
    expect(plan.cpuHours).toBeGreaterThan(0);
    expect(plan.cost).toBeCloseTo((plan.seconds / 3600) * 36);
    expect(plan.thresholds!.full.value).toBeGreaterThan(0);
    expect(plan.thresholds!.full.to).not.toBeNull();
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
