import { join } from 'node:path';
import { expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { ageMap } from './age-map.ts';
import { indexPassages } from './index-passages.ts';
import { removePassages } from './maintain.ts';
import { Store, spaceOf } from './store.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const [old, fresh] = [smallRetriever({ kind: 'static' }), smallRetriever({ kind: 'static', seed: 11 })];
const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(fresh)];
const vectors = (count: number) => new Float32Array(count * 32);

async function storeOf(count: number): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  const passages = Array.from({ length: count }, (_, i) => ({ id: `p${i}`, text: `number ${i}` }));
  await indexPassages(store, old, passages, { model: 'old', threads: 1 });
  return store;
}

it('counts each passage once, by the version of the vector that finds it', async () => {
  const store = await storeOf(10);
  await removePassages(store, ['p9']);
  await store.commit(async (draft) => {
    const table = await draft.addSpace(spaceOf(fresh, 'new'));
    await table.add({
      pids: Int32Array.of(0, 1, 2, 5),
      vectors: vectors(4),
      steps: Int32Array.of(7, 7, 3, 7),
      times: Float64Array.of(1000, 3000, 2000, 9000),
    });
    await draft.embeddings(from).remove([4]);
    const bridge = { from, to, kind: 'ridge', sample: 3, heldOutError: 0.1 };
    draft.set({
      current: to,
      bridges: [bridge],
      migration: { from, to, started: 1, adapter: 'documents', queries: null },
    });
  });
  const map = await ageMap(store, 5);
  const own = { space: to, model: 'new', current: true };
  expect(map).toMatchObject({ passages: 9, missing: 1 });
  expect(map.versions).toEqual([
    { ...own, steps: [7, 7], passages: 3 },
    { ...own, steps: [3, 3], passages: 1 },
    { space: from, model: 'old', current: false, steps: [0, 0], passages: 4 },
  ]);
  expect(map.cells.map(({ passages, versions }) => [passages, ...versions])).toEqual([
    [2, 2, 0, 0],
    [2, 0, 1, 1],
    [2, 1, 0, 0],
    [2, 0, 0, 2],
    [1, 0, 0, 1],
  ]);
  expect(map.cells[0]!.time).toBe(2000);
});

it('has no more cells than asked for, and no more versions than a few for each space', async () => {
  const store = await storeOf(100);
  await store.commit(async (draft) => {
    const pids = Int32Array.from({ length: 100 }, (_, i) => i);
    const times = new Float64Array(100).fill(5);
    await draft.embeddings(from).put({ pids, vectors: vectors(100), steps: pids, times });
  });
  const { cells, versions, missing } = await ageMap(store, 7);
  expect(cells.length).toBeLessThanOrEqual(7);
  expect(cells.reduce((sum, { passages }) => sum + passages, 0)).toBe(100);
  expect(versions.map(({ steps }) => steps)).toEqual([
    [80, 99],
    [60, 79],
    [40, 59],
    [20, 39],
    [0, 19],
  ]);
  expect(versions.map(({ passages }) => passages)).toEqual([20, 20, 20, 20, 20]);
  expect(missing).toBe(0);
});

it('describes a store without vectors, and one without passages', async () => {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  expect(await ageMap(store)).toEqual({ passages: 0, missing: 0, versions: [], cells: [] });
});
