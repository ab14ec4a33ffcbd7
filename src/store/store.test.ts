import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { parseCondition } from './filter.ts';
import { indexPassages } from './index-passages.ts';
import type { PassageInput } from './passage-input.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';
import { openStoredIndex } from './stored-index.ts';
import { openVectors } from './vector-source.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const PASSAGES: PassageInput[] = [
  {
    id: 'open',
    title: 'fs',
    text: 'opens a file',
    metadata: { year: 2020, tags: ['io', 'file'], lang: 'en' },
  },
  { id: 'join', text: 'joins two paths', metadata: { year: 2021, lang: 'en' } },
  { id: "it's", text: 'sorts an array', metadata: { year: 2022, lang: 'de', of: { part: 'x' } } },
  { id: '漢字', text: '漢字を読む' },
];
const retriever = smallRetriever({ kind: 'static' });
const other = smallRetriever({ kind: 'static', seed: 7 });
const space = embeddingSpaceId(retriever);
const compute = { threads: 1 };

async function made(passages: readonly PassageInput[] = PASSAGES): Promise<Store> {
  const store = await Store.open(join(tempFiles(), 'store'), { create: TERMS });
  await indexPassages(store, retriever, passages, { model: 'small', ...compute });
  return store;
}

const ids = (hits: readonly { id: string }[]) => hits.map(({ id }) => id);

async function refusal(work: Promise<unknown>): Promise<Error> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  expect(error).toBeInstanceOf(Error);
  return error!;
}

describe('a store', () => {
  it('gives passages and vectors back to another process', async () => {
    const { folder } = await made();
    const store = await Store.open(folder);
    const { passages, embeddings, head } = await store.snapshot();
    expect(head).toMatchObject({ nextPassage: 4, current: space, spaces: [{ id: space, model: 'small' }] });
    expect(await passages.read([2, 0])).toEqual([
      { pid: 2, id: "it's", title: '', text: 'sorts an array', metadata: PASSAGES[2]!.metadata },
      { pid: 0, id: 'open', title: 'fs', text: 'opens a file', metadata: PASSAGES[0]!.metadata },
    ]);
    const expected = await retriever.encode(
      'document',
      ['fs opens a file', 'joins two paths', 'sorts an array', '漢字を読む'],
      compute,
    );
    for await (const part of embeddings(space).stream()) {
      expect([...part.pids]).toEqual([0, 1, 2, 3]);
      expect(part.vectors).toEqual(expected);
      expect([...part.steps]).toEqual([0, 0, 0, 0]);
    }
  });

  it('embeds again only what has changed', async () => {
    const store = await made();
    const changed = [
      { ...PASSAGES[0]!, metadata: { year: 1999 } },
      { ...PASSAGES[1]!, text: 'joins three paths' },
      PASSAGES[2]!,
      { id: 'new', text: 'a new one' },
    ];
    const counts = await indexPassages(store, retriever, changed, compute);
    expect(counts).toEqual({ read: 4, added: 1, changed: 2, unchanged: 1, embedded: 2 });
    const { passages, embeddings } = await store.snapshot();
    expect(await passages.count()).toBe(5);
    expect(await passages.read([0, 1])).toMatchObject([
      { metadata: { year: 1999 } },
      { text: 'joins three paths' },
    ]);
    const expected = await retriever.encode('document', ['joins three paths'], compute);
    for await (const { vectors } of embeddings(space).read([1])) {
      expect(vectors.reduce((sum, value, d) => sum + value * expected[d]!, 0)).toBeCloseTo(1, 5);
    }
  });

  it('keeps the vectors of two models apart, and removes those of a former text from both', async () => {
    const store = await made();
    await indexPassages(store, other, PASSAGES, compute);
    await indexPassages(store, other, [{ id: 'open', text: 'another text' }], compute);
    const { embeddings, head } = await store.snapshot();
    expect(head.current).toBe(space);
    expect(await embeddings(space).count()).toBe(3);
    expect(await embeddings(embeddingSpaceId(other)).count()).toBe(4);
    expect(await refusal(Promise.resolve().then(() => embeddings('0000')))).toMatchObject({
      message: expect.stringMatching(/no vectors of the embedding space 0000, only of .*small/),
    });
  });

  it('drops all changes of a commit that fails', async () => {
    const store = await made();
    const failed = store.commit(async ({ passages, embeddings }) => {
      await passages.remove([0]);
      await embeddings(space).remove([1, 2]);
      throw new UsageError('stop');
    });
    expect((await refusal(failed)).message).toBe('stop');
    await store.commit(async ({ passages }) => passages.remove([3]));
    const { passages, embeddings } = await store.snapshot();
    expect([await passages.count(), await embeddings(space).count()]).toEqual([3, 4]);
    expect(readdirSync(join(store.folder, 'quarantine')).sort()).toEqual(['passages', `vectors-${space}`]);
  });

  it('reads a snapshot as it was, whatever is committed later', async () => {
    const store = await made();
    const before = await store.snapshot();
    await store.commit(async ({ passages }) => passages.remove([0, 1]));
    expect(await before.passages.count()).toBe(4);
    expect(await (await store.snapshot()).passages.count()).toBe(2);
  });

  it('opens although a loss of power has torn what was not committed', async () => {
    const store = await made();
    await store.commit(async ({ passages }) => passages.remove([3]));
    const committed = store.head.versions.passages!;
    await store.close();
    const name = `${2n ** 64n - 1n - BigInt(committed + 1)}.manifest`;
    writeFileSync(join(store.folder, 'passages.lance', '_versions', name.padStart(29, '0')), '');
    const notes: string[] = [];
    const again = await Store.open(store.folder, { onNote: (note) => notes.push(note) });
    expect(await (await again.snapshot()).passages.count()).toBe(3);
    expect(notes).toEqual([
      `table passages: version ${committed + 1}, which a writer did not finish, is set aside`,
    ]);
  });

  describe('whose head a reader has read before another process committed', () => {
    /** Lets the next times that the store opens a table fail. */
    const failing = (store: Store, times: number) => {
      const { connection } = store.place;
      const open = vi.spyOn(connection, 'openTable');
      for (let i = 0; i < times; i++) open.mockRejectedValueOnce(new Error('torn'));
    };

    it('is read as of the newest commit, and nothing is set aside', async () => {
      const writer = await made();
      const reader = await Store.open(writer.folder);
      await writer.commit(async ({ passages }) => passages.remove([3]));
      failing(reader, 1);
      expect(await (await reader.snapshot()).passages.count()).toBe(3);
      expect(existsSync(join(writer.folder, 'quarantine'))).toBe(false);
      expect(await (await (await Store.open(writer.folder)).snapshot()).passages.count()).toBe(3);
    });

    it('is read where a space was removed', async () => {
      const writer = await made();
      await indexPassages(writer, other, PASSAGES, compute);
      const reader = await Store.open(writer.folder);
      await writer.commit((draft) => draft.removeSpace(embeddingSpaceId(other)));
      expect((await reader.snapshot()).head.spaces.map(({ id }) => id)).toEqual([space]);
    });

    it('leaves a commit that is being made alone, and waits for it if it must', async () => {
      const writer = await made();
      const reader = await Store.open(writer.folder);
      const notes: string[] = [];
      const waiting = await Store.open(writer.folder, { onNote: (note) => notes.push(note) });
      let late: Promise<unknown> | undefined;
      await writer.commit(async ({ passages }) => {
        await passages.remove([2, 3]);
        failing(reader, 1);
        expect(await (await reader.snapshot()).passages.count()).toBe(4);
        failing(waiting, 3);
        late = waiting.snapshot().then((snapshot) => snapshot.passages.count());
        await sleep(300);
      });
      expect(await late).toBe(2);
      expect(notes).toEqual([]);
      expect(existsSync(join(writer.folder, 'quarantine'))).toBe(false);
    });

    it('names the table that is damaged', async () => {
      const store = await made();
      failing(store, 9);
      expect(await refusal(store.snapshot())).toMatchObject({
        file: expect.stringMatching(/vectors-.*\.lance$/),
        message: expect.stringMatching(/cannot be read[\s\S]*index the documents again/),
      });
    });
  });

  it('is refused where it is missing, of another format, damaged, or something else', async () => {
    const folder = tempFiles({ 'a.txt': 'x' });
    expect((await refusal(Store.open(folder))).message).toMatch(/is not a store[\s\S]*undrift index/);
    expect((await refusal(Store.open(folder, { create: TERMS }))).message).toMatch(/not empty/);
    const store = await made();
    const head = join(store.folder, 'store.json');
    const written = JSON.parse(readFileSync(head, 'utf8'));
    for (const [format, help] of [
      [0, /index the documents anew/],
      [1, /index the documents anew/],
      [3, /update Undrift/],
    ] as const) {
      writeFileSync(head, JSON.stringify({ ...written, undriftStore: format }));
      const error = await refusal(Store.open(store.folder, { create: TERMS }));
      expect(error).toMatchObject({ message: expect.stringMatching(help), file: head });
      expect(error).toBeInstanceOf(DataError);
      expect(error.message).toMatch(`has format ${format}, this version of Undrift reads format 2`);
      // A store that is open when another process has replaced it.
      expect((await refusal(store.reload())).message).toBe(error.message);
    }
    writeFileSync(head, JSON.stringify({ ...written, nextPassage: -1 }));
    const error = await refusal(Store.open(store.folder));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(/store.json: "nextPassage" must be a whole number/);
    expect(existsSync(head)).toBe(true);
  });

  it('refuses passages without id, or with one id twice', async () => {
    const refused = async (passages: PassageInput[]) => (await refusal(made(passages))).message;
    expect(await refused([{ id: '', text: 'x' }])).toMatch(/id that is not empty/);
    expect(
      await refused([
        { id: 'a', text: 'x' },
        { id: 'a', text: 'y', file: 'f', line: 2 },
      ]),
    ).toMatch(/f:2: passage id "a" was used before/);
  });

  it('stays whole through compaction, and grows no longer than its rows', async () => {
    const store = await made();
    for (let i = 0; i < 12; i++)
      await indexPassages(store, retriever, [{ id: 'open', text: `text ${i}` }], compute);
    const { passages, embeddings } = await store.snapshot();
    expect([await passages.count(), await embeddings(space).count()]).toEqual([4, 4]);
    expect(await passages.read([0])).toMatchObject([{ text: 'text 11' }]);
    expect(readdirSync(join(store.folder, 'passages.lance', 'data')).length).toBeLessThan(30);
  });
});

describe('search in a store', () => {
  it('finds by vector, as exact search over all vectors does', async () => {
    const store = await made();
    const searcher = new StoreSearcher(store, compute);
    const found = await searcher.search('opens a file', { mode: 'dense', topK: 2 });
    const query = await retriever.encode('query', ['opens a file'], compute);
    const documents = await retriever.encode('document', [
      'fs opens a file',
      ...PASSAGES.slice(1).map(({ text }) => text),
    ]);
    const scores = PASSAGES.map((_, i) =>
      query.reduce((sum, value, d) => sum + value * documents[i * query.length + d]!, 0),
    );
    expect(found[0]).toMatchObject({ id: 'open', rank: 1, title: 'fs', metadata: { year: 2020 } });
    expect(found[0]!.score).toBeCloseTo(Math.max(...scores), 5);
    await searcher.dispose();
  });

  it('finds by terms in every script', async () => {
    const searcher = new StoreSearcher(await made(), compute);
    expect(ids(await searcher.search('an ARRAY of paths', { mode: 'bm25' }))).toEqual(["it's", 'join']);
    expect(ids(await searcher.search('字', { mode: 'bm25' }))).toEqual(['漢字']);
    expect(ids(await searcher.search('fs', { mode: 'bm25' }))).toEqual(['open']);
    expect(await searcher.search('nothing', { mode: 'bm25' })).toEqual([]);
  });

  it('fuses both', async () => {
    const searcher = new StoreSearcher(await made(), compute);
    const found = await searcher.search('sorts an array');
    expect(found[0]).toMatchObject({ id: "it's", score: 2 / 61, parts: { bm25: expect.any(Number) } });
    const weighted = await searcher.search('sorts an array', { denseWeight: 0 });
    expect(weighted[0]).toMatchObject({ id: "it's", score: 1 });
  });

  it('leaves out passages below a score, where scores can be compared', async () => {
    const searcher = new StoreSearcher(await made(), compute);
    for (const mode of ['dense', 'bm25'] as const) {
      const all = await searcher.search('an ARRAY of paths', { mode });
      const { score } = all[1]!;
      const some = await searcher.search('an ARRAY of paths', { mode, minScore: score });
      expect(some).toEqual(all.filter((hit) => hit.score >= score));
      expect(await searcher.search('an ARRAY of paths', { mode, minScore: 1e6 })).toEqual([]);
    }
    await expect(searcher.search('an ARRAY', { minScore: 0.5 })).rejects.toThrow(
      /minScore has no meaning for a hybrid search[\s\S]*mode dense or bm25/,
    );
  });

  it('honours filters in every mode', async () => {
    const searcher = new StoreSearcher(await made(), compute);
    const found = async (mode: 'dense' | 'bm25' | 'hybrid', ...conditions: string[]) =>
      ids(
        await searcher.search('opens joins sorts 漢', { mode, filter: conditions.map(parseCondition) }),
      ).sort();
    for (const mode of ['dense', 'bm25', 'hybrid'] as const) {
      expect(await found(mode, 'year>=2021')).toEqual(["it's", 'join']);
      expect(await found(mode, 'lang=en', 'year<2021')).toEqual(['open']);
      expect(await found(mode, 'lang!=en')).toEqual(["it's", '漢字']);
      expect(await found(mode, 'tags~io')).toEqual(['open']);
      expect(await found(mode, 'of.part="x"')).toEqual(["it's"]);
      expect(await found(mode, "lang='; DROP")).toEqual([]);
    }
    expect(() => parseCondition('year')).toThrow(/not a condition/);
  });

  it('gives the same rows from the disk as from memory', async () => {
    const store = await made(
      Array.from({ length: 300 }, (_, i) => ({ id: `d${i}`, text: `text ${i % 90} of ${i % 7}` })),
    );
    await indexPassages(store, retriever, [{ id: 'd5', text: 'text 6 of 2' }], compute);
    const snapshot = await store.snapshot();
    const queries = await retriever.encode('query', ['text 5', 'of 3'], compute);
    const source = await openVectors(store, snapshot, space, compute);
    const inMemory = await openStoredIndex(source, compute);
    const fromDisk = await openStoredIndex(source, { memoryBytes: 0, ...compute });
    for (const k of [1, 10, 300, 500]) {
      expect(await fromDisk.search(queries, k)).toEqual(await inMemory.search(queries, k));
    }
    const among = new Set([5, 6, 7, 250]);
    for (const index of [inMemory, fromDisk]) {
      const { rows } = await index.searchAmong(queries, 10, (pid) => among.has(pid));
      expect([...rows].sort((a, b) => a - b)).toEqual([5, 5, 6, 6, 7, 7, 250, 250]);
    }
  });
});
