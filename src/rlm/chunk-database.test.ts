import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { letterCorpus } from '../../test/letter-corpus.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { ChunkDatabase } from './chunk-database.ts';
import {
  chunkQuery,
  findNeighbours,
  NO_NEIGHBOUR,
  neighbourFeeds,
  neighbourIdentity,
  shuffledNeighbours,
  storedNeighbours,
} from './chunk-neighbours.ts';
import { leakFilter } from './leak-filter.ts';
import { neighbourSource } from './neighbour-source.ts';
import { stateSource } from './state-source.ts';

const GPT2 = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));
const TEXTS = ['abcdefghij', 'abcdxy', 'efghijkl', ''];

let model: LanguageModel;
let database: ChunkDatabase;
const databaseOf = async (texts: readonly string[], m = 4) =>
  new ChunkDatabase(await letterCorpus(model.tokenizer, texts), model.tokenizer, m);
beforeAll(async () => {
  model = await LanguageModel.load(GPT2);
  database = await databaseOf(TEXTS);
});
afterAll(() => model.dispose());

describe('ChunkDatabase', () => {
  it('cuts documents into chunks, the last of which may be short', () => {
    const rows = Array.from({ length: database.size }, (_, row) => row);
    expect(rows.map((row) => [database.id(row), database.document(row), database.text(row)])).toEqual([
      ['a#0', 'a', 'abcd'],
      ['a#1', 'a', 'efgh'],
      ['a#2', 'a', 'ij'],
      ['b#0', 'b', 'abcd'],
      ['b#1', 'b', 'xy'],
      ['c#0', 'c', 'efgh'],
      ['c#1', 'c', 'ijkl'],
    ]);
    expect(['a', 'b', 'c', 'd'].map((_, document) => database.first(document))).toEqual([0, 3, 5, 7]);
  });

  it('continues a chunk within its document only', () => {
    const { readPassages } = database;
    expect([0, 1, 2, 4, 6].map((row) => readPassages.text(row))).toEqual([
      'abcdefgh',
      'efghij',
      'ij',
      'xy',
      'ijkl',
    ]);
  });

  it('has a digest of texts, ids and chunk length', async () => {
    const digest = database.digest();
    expect(digest).toMatch(/^[0-9a-f]{16}$/);
    expect((await databaseOf(TEXTS)).digest()).toBe(digest);
    expect((await databaseOf(TEXTS, 5)).digest()).not.toBe(digest);
    expect((await databaseOf(TEXTS.slice(0, 3))).digest()).not.toBe(digest);
  });
});

describe('neighbours', () => {
  const options = (more: object = {}) => ({ retriever: 'bm25', sameDocument: false, maxOverlap: 1, ...more });
  async function found(more: object = {}, k = 2): Promise<string[][]> {
    const source = await neighbourSource(database, model, options(more), TEST_COMPUTE);
    const { rows } = await findNeighbours(source.source, database.size, (row) => chunkQuery(database, row), {
      k,
    });
    await source.dispose();
    return Array.from({ length: database.size }, (_, chunk) =>
      Array.from(rows.subarray(chunk * k, (chunk + 1) * k), (row) =>
        row === NO_NEIGHBOUR ? '' : database.id(row),
      ),
    );
  }

  it('come from other documents, unless the own one is allowed', async () => {
    expect(await found()).toEqual([
      ['b#0', ''],
      ['c#0', ''],
      ['', ''],
      ['a#0', ''],
      ['', ''],
      ['a#1', ''],
      ['', ''],
    ]);
    const text = await databaseOf(['abcdabcd']);
    const source = await neighbourSource(text, model, options({ sameDocument: true }));
    const { rows } = await findNeighbours(source.source, 2, (row) => chunkQuery(text, row), { k: 1 });
    expect([...rows]).toEqual([1, 0]);
    await source.dispose();
  });

  it('that hold too much of the next chunk are left out, by their continuations too', async () => {
    // The chunk after a#0 is efgh. It stands in no neighbour as a word of its own.
    expect(await found({ maxOverlap: 0 })).toEqual(await found());
    const texts = await databaseOf(['abcdefgh', 'abcd', 'efghabcd', 'abcdabcd']);
    const rows = async (maxOverlap: number) => {
      const filter = leakFilter(texts.readPassages, { maxOverlap });
      const query = { ...chunkQuery(texts, 0), target: 'abcd' };
      return [...Array(texts.size).keys()]
        .filter((row) => filter.allows(query, row))
        .map((row) => texts.id(row));
    };
    // With its continuation, c#0 is one word, efghabcd.
    expect(await rows(1)).toEqual(['b#0', 'c#0', 'c#1', 'd#0', 'd#1']);
    expect(await rows(0)).toEqual(['c#0', 'd#0']);
  });

  it('by states are those of a full ranking', async () => {
    const all = leakFilter(database.readPassages, { sameDocument: false, sameId: false });
    const source = await stateSource(model, database, all, TEST_COMPUTE);
    const ranked = await source.find([{ text: 'abcd' }, { text: 'ijkl' }], database.size);
    expect(ranked.map(({ rows }) => rows.length)).toEqual([7, 7]);
    expect([...ranked[0]!.rows.subarray(0, 2)].sort()).toEqual([0, 3]);
    expect(ranked[1]!.rows[0]).toBe(6);
    expect(ranked[1]!.scores[0]).toBeCloseTo(1, 5);
    await source.dispose();
    expect((await found({ retriever: 'states' }, 1)).map(([id]) => id).slice(0, 2)).toEqual(['b#0', 'c#0']);
    await expect(found({ retriever: 'gold' })).rejects.toThrow('finds judged passages, and chunks have none');
  });

  it('are shuffled among chunks, never into their own documents', () => {
    const rows = Int32Array.from([3, 5, -1, 0, -1, 1, -1]);
    const of = (chunk: number) => database.document(chunk);
    const shuffled = shuffledNeighbours({ rows, k: 1 }, 4, { of, database });
    expect(shuffledNeighbours({ rows, k: 1 }, 4, { of, database })).toEqual(shuffled);
    expect(shuffledNeighbours({ rows, k: 1 }, 5, { of, database })).not.toEqual(shuffled);
    expect([...shuffled.rows]).not.toEqual([...rows]);
    for (const [chunk, row] of shuffled.rows.entries())
      if (row !== NO_NEIGHBOUR) expect(database.document(row)).not.toBe(of(chunk));
  });

  it('are fed with their continuations, or one part of them', () => {
    const rows = Int32Array.from([0, NO_NEIGHBOUR, 4, 6]);
    const dims = { texts: 1, chunks: 2, k: 2 };
    const masks = (part: 'both' | 'neighbour' | 'continuation') => {
      const mask = neighbourFeeds(database, rows, dims, part)['neighbours/mask']!.data as Float32Array;
      return Array.from({ length: 4 }, (_, i) => mask.slice(8 * i, 8 * i + 8).join(''));
    };
    expect(masks('both')).toEqual(['11111111', '00000000', '11000000', '11110000']);
    expect(masks('neighbour')).toEqual(['11110000', '00000000', '11000000', '11110000']);
    expect(masks('continuation')).toEqual(['00001111', '00000000', '00000000', '00000000']);
    const { data } = neighbourFeeds(database, rows, dims)['neighbours/ids']!;
    expect(model.tokenizer.decode(Array.from(data as BigInt64Array, Number).slice(0, 8))).toBe('abcdefgh');
    expect(() => neighbourFeeds(database, rows, { ...dims, k: 3 })).toThrow('4 neighbours for 1 texts');
  });

  it('are stored with what they depend on, and refused where it differs or the file is damaged', async () => {
    const file = join(tempFiles(), 'neighbours.safetensors');
    const settings = { source: 'bm25', rules: { sameDocument: true }, k: 2 };
    const identity = neighbourIdentity(database, database, settings);
    const lists = { rows: Int32Array.from([1, 2, 3, -1]), k: 2 };
    expect(await storedNeighbours(file, identity, async () => lists)).toEqual(lists);
    const never = () => Promise.reject(new Error('computed again'));
    const again = await storedNeighbours(file, identity, never);
    expect([...again.rows]).toEqual([1, 2, 3, -1]);
    const other = neighbourIdentity(await databaseOf(['abcd']), database, settings);
    await expect(storedNeighbours(file, other, never)).rejects.toThrow(/neighbours\.safetensors.*for chunks/);
    const deeper = neighbourIdentity(database, database, { ...settings, k: 3 });
    await expect(storedNeighbours(file, deeper, never)).rejects.toThrow('holds neighbours for k 2, not 3');
    writeFileSync(file, 'no tensors');
    await expect(storedNeighbours(file, identity, never)).rejects.toThrow(file);
  });
});
