import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { planMigration } from '../migration/plan-migration.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { DocumentStore } from './document-store.ts';
import { indexPassages } from './index-passages.ts';
import { loadLance } from './lance.ts';
import { removePassages } from './maintain.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';
import { storeStatus } from './store-status.ts';
import { loadEncoder } from './stored-encoder.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const PASSAGES = Array.from({ length: 40 }, (_, i) => ({
  id: `d${i}`,
  text: `text ${i} of ${i % 7}`,
  metadata: { year: 2000 + i },
}));
const retriever = smallRetriever({ kind: 'static' });
const space = embeddingSpaceId(retriever);
const compute = { threads: 1 };
const folder = tempFiles();
let count = 0;
/**
 * Address of a new store, in a folder that LanceDB uses like an object store. With UNDRIFT_TEST_BUCKET=s3://bucket the tests run
 * against a server, of which AWS_ENDPOINT and the other variables of LanceDB name the rest.
 */
const bucket = process.env.UNDRIFT_TEST_BUCKET ?? `file-object-store://${folder}/bucket`;
const newAddress = () => `${bucket}/${process.pid}-${count++}`;
const create = (address: string) => Store.open(address, { create: TERMS });

let cache: string | undefined;
beforeAll(() => {
  cache = process.env.UNDRIFT_CACHE;
  process.env.UNDRIFT_CACHE = join(folder, 'cache');
});
afterAll(() => {
  if (cache === undefined) delete process.env.UNDRIFT_CACHE;
  else process.env.UNDRIFT_CACHE = cache;
});

describe('a store in an object store', () => {
  it('is indexed, searched in every mode, changed, compacted and read again like one in a folder', async () => {
    const address = newAddress();
    const stores = [await create(address), await create(join(folder, 'plain'))];
    for (const store of stores) {
      await indexPassages(store, retriever, PASSAGES, { model: 'small', ...compute });
      await removePassages(store, ['d5']);
      await indexPassages(store, retriever, [{ id: 'd6', text: 'another text' }], compute);
      await store.optimize();
      await store.close();
    }
    const [remote, local] = [await Store.open(`${address}/`), await Store.open(join(folder, 'plain'))];
    expect(remote.folder).toBe(address);
    const searchers = [remote, local].map((store) => new StoreSearcher(store, compute));
    for (const mode of ['dense', 'bm25', 'hybrid'] as const) {
      const [found, expected] = await Promise.all(
        searchers.map((searcher) => searcher.search('text 3 of 2', { mode, topK: 20 })),
      );
      expect(found).toEqual(expected);
      expect(found!.length).toBeGreaterThan(5);
    }
    const status = await storeStatus(remote);
    expect(status).toMatchObject({ passages: 39, spaces: [{ id: space, rows: 39 }] });
    expect(status.bytes).toBeGreaterThan(1000);
    const documents = await DocumentStore.open(address, folder);
    expect(documents.documents.corpus.size).toBe(39);
    await documents.close();
    for (const searcher of searchers) await searcher.dispose();
    for (const store of [remote, local]) await store.close();
  });

  it('holds its model, which another machine downloads, checked by digests', async () => {
    const address = newAddress();
    const store = await create(address);
    await indexPassages(store, retriever, PASSAGES, compute);
    expect(await store.files.has(`encoders/${space}`)).toBe(true);
    rmSync(join(folder, 'cache'), { recursive: true });
    const [own, again] = await Promise.all([loadEncoder(store, space), loadEncoder(store, space)]);
    expect(embeddingSpaceId(own)).toBe(space);
    await Promise.all([own.dispose(), again.dispose()]);
    // A file of several parts, of none, and in a folder.
    const long = Buffer.alloc((1 << 24) + 5, 7);
    const name = 'correctors/a-b';
    const save = (content: Buffer) =>
      store.files.save(name, async (path) => {
        mkdirSync(join(path, 'in'), { recursive: true });
        writeFileSync(join(path, 'long'), content);
        writeFileSync(join(path, 'in/empty'), '');
      });
    await save(long);
    const path = await store.files.open(name);
    expect(readdirSync(path).sort()).toEqual(['.contents.json', 'in', 'long']);
    await save(Buffer.from('short'));
    expect(await store.files.open(name)).toBe(path);
    expect(readFileSync(join(path, 'long'), 'utf8')).toBe('short');
    await store.files.remove(name);
    expect(await store.files.has(name)).toBe(false);
    // A single file.
    await store.files.save('canaries/x.json', async (path) => writeFileSync(path, '{}'));
    expect(readFileSync(await store.files.open('canaries/x.json'), 'utf8')).toBe('{}');
    await expect(store.files.open(name)).rejects.toThrow('does not have this part');
    await store.close();
  });

  it('takes the commits of several processes one after the other', async () => {
    const address = newAddress();
    await (await create(address)).close();
    const stores = await Promise.all(Array.from({ length: 4 }, () => Store.open(address)));
    const pids = await Promise.all(
      stores
        .flatMap((store) => [store, store])
        .map((store) => store.commit(async (draft) => [...draft.takePids(3)])),
    );
    expect(pids.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    for (const store of stores) await store.reload();
    expect(stores.map(({ head }) => head.nextPassage)).toEqual([24, 24, 24, 24]);
    for (const store of stores) await store.close();
  });

  it('drops what a writer did not commit: after an error, and after its end', async () => {
    const address = newAddress();
    const notes: string[] = [];
    const store = await Store.open(address, { create: TERMS, onNote: (note) => notes.push(note) });
    await indexPassages(store, retriever, PASSAGES, compute);
    const failed = store.commit(async ({ passages, embeddings }) => {
      await passages.remove([0, 1]);
      await embeddings(space).remove([2]);
      throw new Error('stop');
    });
    await expect(failed).rejects.toThrow('stop');
    const sizes = async (of: Store) => {
      const { passages, embeddings } = await of.snapshot();
      return [await passages.count(), await embeddings(space).count()];
    };
    expect(await sizes(await Store.open(address))).toEqual([40, 40]);
    await store.commit(async ({ passages }) => passages.remove([3]));
    expect(await sizes(store)).toEqual([39, 40]);
    expect(notes.join()).toMatch(/table passages: version .* set aside/);
    const other = await Store.open(address);
    expect(await sizes(other)).toEqual([39, 40]);
    // A vector whose passage is gone is no reason to fail.
    await indexPassages(other, retriever, PASSAGES, compute);
    expect((await sizes(other))[0]).toBe(40);
    await store.close();
    await other.close();
  });

  it('refuses the commit of a writer that others have taken over from, and keeps theirs', async () => {
    const address = newAddress();
    const slow = await create(address);
    const quick = await Store.open(address);
    const now = vi.spyOn(Date, 'now');
    const late = slow.commit(async (draft) => {
      draft.takePids(10);
      // Longer than a lease without a sign of life.
      const later = Date.now() + 61_000;
      now.mockImplementation(() => later);
      await quick.commit(async (other) => other.takePids(1));
      now.mockRestore();
      await draft.passages.count();
    });
    await expect(late).rejects.toThrow('has taken the store');
    await slow.reload();
    expect(slow.head.nextPassage).toBe(1);
    // It goes on with its next commit.
    await slow.commit(async (draft) => draft.takePids(1));
    await quick.reload();
    expect(quick.head.nextPassage).toBe(2);
    await slow.close();
    await quick.close();
  });

  it('is made once by several processes that make it at once', async () => {
    const address = newAddress();
    const stores = await Promise.all([create(address), create(address), create(address)]);
    for (const store of stores) await store.commit(async (draft) => draft.takePids(1));
    const again = await Store.open(address);
    expect(again.head.nextPassage).toBe(3);
    for (const store of [again, ...stores]) await store.close();
  });

  it('keeps its head where the late creation of another process replaces it', async () => {
    const address = newAddress();
    const store = await create(address);
    await store.commit(async (draft) => draft.takePids(5));
    const { lancedb } = await loadLance();
    const connection = await lancedb.connect(address);
    const table = await connection.openTable('head');
    const schema = await table.schema();
    await table.checkout(1);
    const first = (await table.query().toArray()).map((row) => ({ ...row }));
    await connection.createTable('head', first, { mode: 'overwrite', schema });
    connection.close();
    const again = await create(address);
    expect(again.head.nextPassage).toBe(5);
    await store.commit(async (draft) => draft.takePids(1));
    await again.reload();
    expect(again.head.nextPassage).toBe(6);
    for (const each of [again, store]) await each.close();
  });

  it('plans a migration', async () => {
    const store = await create(newAddress());
    await indexPassages(store, retriever, PASSAGES, compute);
    const other = smallRetriever({ kind: 'static', seed: 7 });
    const plan = await planMigration(store, other, { sample: 20, ...compute });
    expect(plan).toMatchObject({ sample: expect.any(Number) });
    await other.dispose();
    await store.close();
  });

  it('is refused at addresses of other kinds, and where something else lies', async () => {
    await expect(Store.open('ftp://host/x')).rejects.toThrow('a store cannot lie at ftp://host/x');
    await expect(Store.open('s3://', { create: TERMS })).rejects.toThrow('a store cannot lie at s3://');
    await expect(Store.open(newAddress())).rejects.toThrow('is not a store');
    const { lancedb } = await loadLance();
    const address = newAddress();
    const connection = await lancedb.connect(address);
    await connection.createTable('other', [{ x: 1 }]);
    await expect(create(address)).rejects.toThrow('is not a store, and not empty');
  });
});
