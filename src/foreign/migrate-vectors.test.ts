import { describe, expect, it } from 'vitest';
import { MemoryVectors } from '../../examples/own-vector-store.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import {
  backfillVectors,
  countMissing,
  cutOverVectors,
  embedRows,
  planVectorMigration,
  rollBackVectors,
  startVectorMigration,
} from './migrate-vectors.ts';
import type { VectorRow } from './vector-store.ts';

const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const fresh = smallRetriever({ kind: 'static', seed: 11 });
const wider = smallRetriever({ kind: 'static', hidden: 48, seed: 12 });
const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(fresh)];
const texts = Array.from({ length: 300 }, (_, i) => phraseText([i, i * 7, i * 13, i * 29, i >> 3]));
const idOf = (i: number) => `p${String(i).padStart(3, '0')}`;
const fit = { from: old, sample: 120, correctors: ['ridge'], ...compute } as const;

/** Makes a database of texts with the vectors of a model. */
async function database(retriever: Retriever = old): Promise<MemoryVectors> {
  const vectors = await retriever.encode('document', texts, compute);
  const D = retriever.dimension;
  return new MemoryVectors(
    texts.map((text, i) => [idOf(i), { text, vector: vectors.slice(i * D, (i + 1) * D) }]),
  );
}

const all = async (store: MemoryVectors, space: string): Promise<VectorRow[]> =>
  await store.read({ space, texts: true, after: null, limit: 1000 });

const cosine = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, value, i) => sum + value * b[i]!, 0) / Math.hypot(...a) / Math.hypot(...b);

/** Mean cosine of the vectors of a space with the true ones, and the number of corrected ones. */
async function likeness(store: MemoryVectors, retriever: Retriever) {
  const rows = await all(store, embeddingSpaceId(retriever));
  const truth = await retriever.encode(
    'document',
    rows.map(({ text }) => text!),
    compute,
  );
  const D = retriever.dimension;
  const cosines = rows.map(({ vector }, i) => cosine(vector!.values, truth.subarray(i * D, (i + 1) * D)));
  return {
    mean: cosines.reduce((a, b) => a + b) / rows.length,
    least: Math.min(...cosines),
    corrected: rows.filter(({ vector }) => vector!.corrected).length,
  };
}

describe('a migration of a database', () => {
  it('serves all rows by corrected vectors, then by true ones, and leaves the original vectors alone', async () => {
    const store = await database();
    const before = structuredClone([...store.rows]);
    const chosen = await startVectorMigration(store, fresh, { ...fit, model: 'new', fromModel: 'old' });
    expect(chosen).toMatchObject({ kind: 'ridge', sample: 120 });
    // Results are printed as JSON: they have no vectors.
    expect(JSON.stringify(chosen).length).toBeLessThan(500);
    expect(store.state).toMatchObject({
      current: to,
      migration: { from, to },
      original: { id: from, model: 'old', dimension: 32 },
      spaces: [{ id: to, model: 'new' }],
    });
    expect(await store.describe()).toMatchObject({ spaces: [{ id: to, rows: 300, corrected: 180 }] });
    const mixed = await likeness(store, fresh);
    expect(mixed.corrected).toBe(180);
    expect(mixed.mean).toBeGreaterThan(0.85);

    expect(await backfillVectors(store, fresh, { until: 0.5, commitRows: 7, ...compute })).toEqual({
      embedded: 30,
      missing: 150,
    });
    await expect(cutOverVectors(store)).rejects.toThrow(/150 passages of memory are not embedded/);
    expect(await backfillVectors(store, fresh, { commitRows: 64, ...compute })).toEqual({
      embedded: 150,
      missing: 0,
    });
    const full = await likeness(store, fresh);
    expect(full.corrected).toBe(0);
    expect(full.least).toBeGreaterThan(0.9999);
    await cutOverVectors(store);
    expect(store.state).toMatchObject({ current: to, migration: null, bridge: null, spaces: [{ id: to }] });
    expect([...store.rows]).toEqual(before);

    // The next one starts from the vectors that were written.
    await startVectorMigration(store, wider, { ...fit, from: undefined });
    expect((await likeness(store, wider)).mean).toBeGreaterThan(0.8);
    await backfillVectors(store, wider, compute);
    await cutOverVectors(store);
    expect([...store.spaces.keys()]).toEqual([embeddingSpaceId(wider)]);
  });

  it('goes on after it was stopped between any two writes', async () => {
    let writes = 0;
    for (let killAt = 1; killAt < 20; killAt++) {
      const store = await database();
      let left = killAt;
      const dying = new Proxy(store, {
        get(target, name) {
          const member = target[name as keyof MemoryVectors] as unknown;
          if (typeof member !== 'function') return member;
          return (...args: unknown[]) => {
            if (/^write/.test(String(name)) && --left === 0) throw new Error('killed');
            return member.apply(target, args);
          };
        },
      });
      const work = async (over: MemoryVectors) => {
        await startVectorMigration(over, fresh, fit);
        await backfillVectors(over, fresh, { commitRows: 50, ...compute });
      };
      const died = await work(dying).then(
        () => false,
        (error: Error) => error.message === 'killed',
      );
      if (!died) break;
      writes = killAt;
      // A search sees all rows in one space, or those of the former one.
      if (store.state?.current === to) expect((await store.describe()).spaces[0]!.rows).toBe(300);
      await work(store);
      expect(await store.describe()).toMatchObject({ rows: 300, spaces: [{ id: to, rows: 300 }] });
      const full = await likeness(store, fresh);
      expect(full.corrected).toBe(0);
      expect(full.least).toBeGreaterThan(0.9999);
    }
    expect(writes).toBeGreaterThanOrEqual(7);
  });

  it('is undone without a trace in the database', async () => {
    const store = await database();
    await startVectorMigration(store, fresh, fit);
    const load = async () => {
      throw new Error('not needed');
    };
    expect(await rollBackVectors(store, load, compute)).toBe(0);
    expect(store.state).toMatchObject({ current: from, migration: null, bridge: null, spaces: [] });
    expect(store.spaces.size).toBe(0);
    expect(await countMissing(store, to)).toBe(300);
  });

  it('embeds rows added since its start by the former model when it is undone', async () => {
    const store = await database();
    await startVectorMigration(store, fresh, fit);
    await backfillVectors(store, fresh, compute);
    await cutOverVectors(store);
    await startVectorMigration(store, wider, { ...fit, from: undefined });
    const vector = new Float32Array(32).fill(1);
    (store.rows as Map<string, { text: string; vector: Float32Array }>).set('q', { text: 'opens', vector });
    await backfillVectors(store, wider, compute);
    const named: string[] = [];
    const load = async ({ id }: { id: string }) => {
      named.push(id);
      return smallRetriever({ kind: 'static', seed: 11 });
    };
    expect(await rollBackVectors(store, load, compute)).toBe(1);
    expect(named).toEqual([to]);
    expect((await likeness(store, fresh)).least).toBeGreaterThan(0.9999);
  });

  it('embeds a changed text again', async () => {
    const store = await database();
    await startVectorMigration(store, fresh, fit);
    await backfillVectors(store, fresh, compute);
    store.rows.get(idOf(7))!.text = phraseText([1, 1, 1]);
    expect(await countMissing(store, to)).toBe(1);
    await expect(cutOverVectors(store)).rejects.toThrow(/1 passages/);
    expect(await backfillVectors(store, fresh, compute)).toEqual({ embedded: 1, missing: 0 });
    expect((await likeness(store, fresh)).least).toBeGreaterThan(0.9999);
  });

  it('is planned without a trace', async () => {
    const store = await database();
    const plan = await planVectorMigration(store, fresh, { ...fit, model: 'new' });
    expect(plan).toMatchObject({ passages: 300, missing: 300, kind: 'ridge', to: { model: 'new' } });
    expect(plan.overlap).toBeGreaterThan(0.2);
    expect(store.state).toBeNull();
    expect(store.spaces.size).toBe(0);
  });

  it('scales original vectors to unit norm', async () => {
    const [store, scaled] = [await database(), await database()];
    for (const { vector } of scaled.rows.values())
      for (const [i, value] of vector.entries()) vector[i] = 4 * value;
    const [plan, same] = [
      await planVectorMigration(store, fresh, fit),
      await planVectorMigration(scaled, fresh, fit),
    ];
    expect(same.heldOutError).toBeCloseTo(plan.heldOutError, 5);
  });

  it('refuses vectors whose model is not named, of another model, damaged, and of two migrations', async () => {
    const store = await database();
    const unnamed = { ...fit, from: undefined };
    await expect(planVectorMigration(store, fresh, unnamed)).rejects.toThrow(/nothing says which model/);
    await expect(planVectorMigration(store, fresh, { ...fit, from: wider })).rejects.toThrow(
      /have 32 dimensions, those of from have 48/,
    );
    await expect(planVectorMigration(await database(fresh), wider, fit)).rejects.toThrow(
      /are not those of the model from: their median cosine is -?0\.\d+ over 32 rows/,
    );
    await expect(planVectorMigration(store, old, fit)).rejects.toThrow(/holds vectors of this model already/);
    expect(
      await planVectorMigration(store, fresh, { ...unnamed, fromSpace: 'openai-3-small' }),
    ).toMatchObject({
      from: { id: 'openai-3-small', dimension: 32 },
    });
    await startVectorMigration(store, fresh, fit);
    await expect(startVectorMigration(store, wider, fit)).rejects.toThrow(/is under way[\s\S]*rollback/);
    const empty = new MemoryVectors([]);
    await expect(planVectorMigration(empty, fresh, fit)).rejects.toThrow(/has no vectors yet/);
    await expect(cutOverVectors(empty)).rejects.toThrow(/no migration of memory is under way/);
    for (const [value, message] of [
      [Number.NaN, /row "p003" has a number that is not finite/],
      [0, /row "p003" is zero/],
    ] as const) {
      const damaged = await database();
      damaged.rows.get('p003')!.vector.fill(value);
      await expect(startVectorMigration(damaged, fresh, { ...fit, sample: 400 })).rejects.toThrow(message);
    }
  });

  it('refuses to overwrite the state of another process', async () => {
    const store = await database();
    await startVectorMigration(store, fresh, fit);
    await expect(store.writeState({ ...store.state!, revision: 1 })).rejects.toThrow(/another process/);
  });

  it('gives a database without vectors its first ones', async () => {
    const store = await database();
    const facts = store.describe.bind(store);
    store.describe = async () => ({ ...(await facts()), original: null });
    expect(await embedRows(store, fresh, { model: 'new', ...compute })).toEqual({
      embedded: 300,
      missing: 0,
    });
    expect(store.state).toMatchObject({ original: null, current: to, spaces: [{ id: to, model: 'new' }] });
    expect(await embedRows(store, fresh, compute)).toEqual({ embedded: 0, missing: 0 });
    await expect(embedRows(store, old, compute)).rejects.toThrow(/use vectors of the space .* not/);
    await expect(embedRows(await database(), fresh, compute)).rejects.toThrow(/has vectors already, 300/);
  });
});
