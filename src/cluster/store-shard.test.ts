import { describe, expect, it } from 'vitest';
import { clusterPassages, storeWithoutVectors, vectorsOf } from '../../test/cluster-stores.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { startMigration } from '../migration/migrate-store.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { buildApproximateIndex, removePassages } from '../store/maintain.ts';
import { UsageError } from '../util/errors.ts';
import type { EmbeddedRows } from './shard-keeper.ts';
import { type StoreShard, storeShard } from './store-shard.ts';

const compute = { threads: 1 };

/** Stores made-up vectors of rows whose tokens are read now. */
async function putRows(shard: StoreShard, rows: Uint32Array, value = 1): Promise<number> {
  const { dimension, id } = (await shard.wanted())!;
  const { rows: found, marks } = await shard.tokens(rows);
  const vectors = new Float32Array(found.length * dimension).fill(value);
  return await shard.put([{ version: id, rows: found, marks, vectors }]);
}

const listed = async (shard: StoreShard, after = -1, blocks = 100) =>
  (await shard.stale({ after, blocks })).map((rows) => [rows[0], rows.at(-1), rows.length]);

describe('a store as a shard', () => {
  it('divides long texts at the same places, whatever was stored', async () => {
    const retriever = smallRetriever({ kind: 'static', maxDocTokens: 512 });
    // Texts of 20 to 510 tokens: the 1,024 of a group take two blocks.
    const passages = Array.from({ length: 2500 }, (_, i) => ({
      id: `p${i}`,
      text: phraseText(Array.from({ length: 300 - ((i * 37) % 280) }, (_, k) => i + k)),
    }));
    const store = await storeWithoutVectors(retriever, passages);
    const shard = storeShard(store, { name: 'docs', model: retriever });
    const all = await shard.stale({ after: -1, blocks: 100 });
    expect(all.flatMap((rows) => [...rows])).toEqual(Array.from({ length: 2500 }, (_, row) => row));
    const inGroup = all.filter((rows) => rows[0]! < 1024);
    expect(inGroup.length).toBe(2);
    const tokensOf = async (rows: Uint32Array) => (await shard.tokens(rows)).tokens.length;
    for (const rows of all) expect(await tokensOf(rows)).toBeLessThanOrEqual(200_000);
    // All but one of every three are stored, in another order.
    const left = all.filter((_, i) => i % 3 === 1);
    for (const rows of all.filter((_, i) => i % 3 !== 1).reverse())
      expect(await putRows(shard, rows)).toBe(rows.length);
    expect(await shard.stale({ after: -1, blocks: 100 })).toEqual(left);
    // Another process, which has not seen what was handed out before.
    expect(await storeShard(store, { name: 'docs' }).stale({ after: -1, blocks: 100 })).toEqual(left);
    await store.close();
  });

  it('lists what is stale behind a row, up to a number of blocks, without what is stored meanwhile', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const store = await storeWithoutVectors(retriever, clusterPassages(4000));
    const shard = storeShard(store, { name: 'docs', model: retriever });
    const blocks = [
      [0, 1023, 1024],
      [1024, 2047, 1024],
      [2048, 3071, 1024],
      [3072, 3999, 928],
    ];
    expect(await listed(shard)).toEqual(blocks);
    expect(await listed(shard, -1, 2)).toEqual(blocks.slice(0, 2));
    expect(await listed(shard, 1024, 1)).toEqual([blocks[2]]);
    await putRows(shard, Uint32Array.of(3080, 3999));
    expect(await listed(shard, 2048)).toEqual([[3072, 3998, 926]]);
    expect(await shard.counts()).toMatchObject({ rows: 4000, stale: 3998, versions: [{ rows: 2 }] });
    await removePassages(store, ['p0', 'p5']);
    expect(await listed(shard, -1, 1)).toEqual([[1, 1023, 1022]]);
    expect((await shard.tokens(Uint32Array.of(0, 1, 5, 6, 9999))).rows).toEqual(Uint32Array.of(1, 6));
    await store.close();
  });

  it('reads the tokens of a text that has changed anew, and takes no vector of the former one', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const store = await storeWithoutVectors(retriever, clusterPassages(10));
    const shard = storeShard(store, { name: 'docs', model: retriever });
    const rows = Uint32Array.of(4);
    const before = await shard.tokens(rows);
    const late: EmbeddedRows = {
      version: embeddingSpaceId(retriever),
      rows,
      marks: before.marks,
      vectors: new Float32Array(32),
    };
    const other = smallRetriever({ kind: 'static', seed: 8 });
    await indexPassages(store, other, [{ id: 'p4', text: 'returns a number' }], compute);
    const after = await shard.tokens(rows);
    expect(after.marks).not.toEqual(before.marks);
    expect(after.tokens).toEqual(retriever.tokenize('document', 1, () => 'returns a number').tokens(0));
    expect(await shard.put([late])).toBe(0);
    expect(await shard.put([{ ...late, marks: after.marks }])).toBe(1);
    expect((await vectorsOf(store, late.version)).get('p4')).toEqual(new Float32Array(32));
    await store.close();
  });

  it('hands out again what it has not taken, though nothing in the store has changed', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const store = await storeWithoutVectors(retriever, clusterPassages(10));
    const shard = storeShard(store, { name: 'docs', model: retriever });
    expect(await listed(shard)).toEqual([[0, 9, 10]]);
    const rows = Uint32Array.of(4);
    const ofAnotherText = { version: embeddingSpaceId(retriever), rows, marks: BigUint64Array.of(7n) };
    expect(await shard.put([{ ...ofAnotherText, vectors: new Float32Array(32) }])).toBe(0);
    expect(await listed(shard)).toEqual([[0, 9, 10]]);
    expect(await putRows(shard, rows)).toBe(1);
    expect(await listed(shard)).toEqual([[0, 9, 9]]);
    await store.close();
  });

  it('wants the model of a migration, and gives its vectors an index when it ends', async () => {
    const old = smallRetriever({ kind: 'static' });
    const fresh = smallRetriever({ kind: 'static', seed: 11, maxDocTokens: 4 });
    const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(fresh)];
    const store = await storeWithoutVectors(old, []);
    await indexPassages(store, old, clusterPassages(300), compute);
    await buildApproximateIndex(store, from, 'ivf');
    const shard = storeShard(store, { name: 'docs' });
    expect(await shard.wanted()).toMatchObject({ id: from });
    expect(await listed(shard)).toEqual([]);
    const all = Uint32Array.from({ length: 300 }, (_, row) => row);
    const one = clusterPassages(301).slice(300);
    await indexPassages(store, old, one, { ...compute, embeds: false });
    // Read, and kept in memory.
    for (let reads = 0; reads < 2; reads++)
      expect((await shard.tokens(Uint32Array.of(300))).lengths[0]).toBeGreaterThan(4);
    await startMigration(store, fresh, { sample: 20, correctors: ['ridge'], ...compute });
    expect(await shard.wanted()).toMatchObject({ id: to, dimension: 32 });
    // The tokens are those of the new model at once.
    expect(Math.max(...(await shard.tokens(all)).lengths)).toBe(4);
    const [rows] = await shard.stale({ after: -1, blocks: 10 });
    expect(rows!.length).toBe(281);
    const { tokens } = await shard.tokens(rows!);
    expect(tokens.length).toBeGreaterThan(281);
    expect(await putRows(shard, rows!, 0.5)).toBe(281);
    await shard.finish();
    expect(await (await store.snapshot()).embeddings(to).approximate()).toBe('ivf');
    await shard.dispose();
    await store.close();
  });

  it('has a name that a subject can have', async () => {
    const store = await storeWithoutVectors(smallRetriever({ kind: 'static' }), []);
    for (const name of ['a.b', '', 'a b', '>', 'ä'])
      expect(() => storeShard(store, { name }), name).toThrow(UsageError);
    await store.close();
  });
});
