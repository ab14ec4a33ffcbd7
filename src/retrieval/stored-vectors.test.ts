import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { Corpus } from '../data/corpus.ts';
import { loadData } from '../data/load.ts';
import { readNpy, writeNpy } from '../io/npy.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { DataError, ShapeError, UsageError } from '../util/errors.ts';
import { encodeCorpus } from './encode-corpus.ts';
import { readVectors } from './read-vectors.ts';
import { retrievalTask, retrieve } from './retrieve.ts';
import { RowDigest } from './row-digest.ts';
import { openVectorWriter, writeVectors } from './write-vectors.ts';

const TEXTS = ['opens a file', 'joins two paths', 'sorts an array', ''];
const records = TEXTS.map((text, i) => ({ id: `d${i}`, text }));
const corpus = await Corpus.from(records);
const retriever = smallRetriever({ kind: 'static' });
const vectors = await encodeCorpus(retriever, 'document', corpus, { threads: 1 });
const space = embeddingSpaceId(retriever);

/** Writes the vectors to a folder of their own. */
async function stored(): Promise<string> {
  const file = join(tempFiles(), 'docs.npy');
  await writeVectors(file, vectors, corpus, { retriever });
  return file;
}

const manifestOf = (file: string) => JSON.parse(readFileSync(`${file}.json`, 'utf8'));

/** Returns the error of reading vectors. */
async function refusal(file: string, wanted: object = {}): Promise<Error> {
  const error = await readVectors(file, { retriever, corpus, ...wanted }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(DataError);
  return error as Error;
}

describe('stored vectors', () => {
  it('come back with the facts of their manifest', async () => {
    const file = await stored();
    const found = await readVectors(file, { retriever, corpus });
    expect(found.vectors).toEqual(vectors);
    expect(found).toMatchObject({ dimension: 32, embeddingSpace: space, side: 'document' });
    expect(manifestOf(file)).toEqual({
      format: 1,
      embeddingSpace: space,
      side: 'document',
      dtype: 'f32',
      rows: 4,
      dimension: 32,
      settings: {
        pooling: 'mean',
        normalize: true,
        towers: 'shared',
        queryPrompt: '',
        docPrompt: '',
        maxQueryTokens: 12,
        maxDocTokens: 20,
      },
      texts: expect.stringMatching(/^[0-9a-f]{16}$/),
      ids: expect.stringMatching(/^[0-9a-f]{16}$/),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      corrector: null,
    });
  });

  it('are the same written in parts, and with ids or without', async () => {
    const whole = await stored();
    const parts = join(tempFiles(), 'parts.npy');
    const writer = await openVectorWriter(parts, { retriever });
    for (const row of [0, 1, 2, 3]) {
      await writer.append(vectors.subarray(row * 32, (row + 1) * 32), [TEXTS[row]!], [`d${row}`]);
    }
    expect({ format: 1, ...(await writer.close()) }).toEqual(manifestOf(whole));
    expect(readFileSync(parts)).toEqual(readFileSync(whole));

    const bare = join(tempFiles(), 'bare.npy');
    const other = await openVectorWriter(bare, { retriever });
    await other.append(vectors, TEXTS);
    expect(await other.close()).toMatchObject({ ids: null, texts: manifestOf(whole).texts });
    await readVectors(bare, { retriever, corpus });
    const mixed = await openVectorWriter(join(tempFiles(), 'mixed.npy'), { retriever });
    await mixed.append(vectors, TEXTS);
    await expect(mixed.append(vectors, TEXTS, ['a', 'b', 'c', 'd'])).rejects.toThrow(ShapeError);
    await expect(mixed.append(vectors.subarray(32), TEXTS)).rejects.toThrow(ShapeError);
    await mixed.discard();
  });

  it.each([
    ['another model', { projectionSize: 32 }, 'the model at hand has'],
    ['the same model with other weights', { seed: 4 }, 'the model at hand has'],
    ['another prompt', { prompts: { document: 'passage: ' } }, 'docPrompt "" there, "passage: " here'],
    ['another text length', { maxDocTokens: 19 }, 'maxDocTokens 20 there, 19 here'],
    ['no normalisation', { normalize: false }, 'normalize true there, false here'],
    ['fewer dimensions', { hidden: 16 }, 'dimension 32 there, 16 here'],
  ])('are refused for %s', async (_, options, message) => {
    const other = smallRetriever({ kind: 'static', ...options });
    const error = await refusal(await stored(), { retriever: other, command: 'undrift encode THIS' });
    expect(error.message).toContain(`vectors of the embedding space ${space}, the model at hand`);
    expect(error.message).toContain(embeddingSpaceId(other));
    expect(error.message).toContain(message);
    expect(error.message).toContain('write them again: undrift encode THIS');
  });

  it('are refused for the other side', async () => {
    const file = await stored();
    expect((await refusal(file, { side: 'query' })).message).toContain(
      'encoded as documents, not as queries',
    );
    const queries = join(tempFiles(), 'queries.npy');
    await writeVectors(queries, vectors, corpus, { retriever, side: 'query' });
    expect((await refusal(queries)).message).toContain('encoded as queries, not as documents');
  });

  it.each([
    ['reordered', [...records].reverse(), 'other texts, or another order'],
    [
      'of other texts',
      records.map((r, i) => (i === 1 ? { ...r, text: 'new' } : r)),
      'some texts were changed',
    ],
    ['of other ids', records.map((r) => ({ ...r, id: `x${r.id}` })), 'the same texts under other ids'],
    ['longer', [...records, { id: 'd4', text: 'more' }], 'holds f32[4, 32], but 5 documents'],
  ])('are refused for a corpus that is %s', async (_, others, message) => {
    const error = await refusal(await stored(), { corpus: await Corpus.from(others) });
    expect(error.message).toContain(message);
    expect(error.message).toContain('undrift encode --model MODEL --data DATA --side document --out ');
  });

  it('are refused without a manifest, unless they are trusted; shapes are checked all the same', async () => {
    const file = await stored();
    rmSync(`${file}.json`);
    expect((await refusal(file)).message).toContain('docs.npy.json: nothing says of which model');
    expect((await refusal(file)).message).toContain('if you know that they fit: trustVectors: true');
    const found = await readVectors(file, { retriever, corpus, trustVectors: true });
    expect(found).toMatchObject({ embeddingSpace: undefined, manifest: undefined, vectors });
    const longer = await Corpus.from([...records, { id: 'd4', text: 'more' }]);
    expect((await refusal(file, { corpus: longer, trustVectors: true })).message).toContain(
      'holds f32[4, 32], but 5 documents of this model are f32[5, 32]',
    );
    await writeNpy(file, { dtype: 'f64', dims: [4, 32], data: new Float64Array(4 * 32) });
    expect((await refusal(file, { trustVectors: true })).message).toContain('holds f64[4, 32]');
  });

  it('are checked by a manifest that is there, trusted or not', async () => {
    const other = smallRetriever({ kind: 'static', seed: 9 });
    const error = await refusal(await stored(), { retriever: other, trustVectors: true });
    expect(error.message).toContain(space);
  });

  it('are refused where the file was swapped, changed or cut', async () => {
    const swapped = await stored();
    await writeNpy(swapped, { dtype: 'f32', dims: [4, 32], data: vectors.map((x) => -x) });
    expect((await refusal(swapped)).message).toContain('the file was replaced or changed');

    const changed = await stored();
    const bytes = readFileSync(changed);
    bytes[bytes.length - 70]! ^= 1;
    writeFileSync(changed, bytes);
    expect((await refusal(changed)).message).toContain('the file was replaced or changed');

    const shorter = await stored();
    await writeNpy(shorter, { dtype: 'f32', dims: [3, 32], data: vectors.slice(32) });
    expect((await refusal(shorter)).message).toContain('one of the two was replaced');

    const cut = await stored();
    truncateSync(cut, bytes.length - 4);
    expect((await refusal(cut)).message).toContain('needs 512 bytes, the file has 508');
  });

  it('have no valid manifest if writing ends between the two files', async () => {
    const file = await stored();
    const old = readFileSync(`${file}.json`);
    const other = smallRetriever({ kind: 'static', seed: 5 });
    const fresh = await encodeCorpus(other, 'document', corpus, { threads: 1 });
    await writeVectors(file, fresh, corpus, { retriever: other });
    writeFileSync(`${file}.json`, old);
    expect((await refusal(file)).message).toContain('the file was replaced or changed');
    expect((await refusal(file, { retriever: other })).message).toContain('the model at hand has');
  });

  it('stay as they were, with their manifest, where new ones are given up', async () => {
    const file = await stored();
    const writer = await openVectorWriter(file, { retriever });
    await writer.append(
      vectors.map((x) => -x),
      TEXTS,
    );
    await writer.discard();
    await readVectors(file, { retriever, corpus });
  });

  it.each([
    [{ format: 2 }, 'update Undrift'],
    [{ side: 'both' }, '"side" must be'],
    [{ rows: -1 }, '"rows" must be a positive integer, found -1'],
    [{ settings: [] }, '"settings" must be an object'],
    [{ sha256: 7 }, '"sha256" must be a text'],
    [{ corrector: 'ridge' }, '"corrector" must be an object or null'],
    [{ embeddingSpace: undefined }, '"embeddingSpace" must be a text'],
  ])('a damaged manifest is refused: %j', async (change, message) => {
    const file = await stored();
    writeFileSync(`${file}.json`, JSON.stringify({ ...manifestOf(file), ...change }));
    expect((await refusal(file)).message).toContain(message);
    writeFileSync(`${file}.json`, '[');
    expect((await refusal(file)).message).toContain('not valid JSON');
  });

  it('moved by a corrector name it, and are of the space that it maps to', async () => {
    const file = join(tempFiles(), 'moved.npy');
    const corrector = { kind: 'ridge', fromSpace: 'aaaa', toSpace: space };
    await writeVectors(file, vectors, corpus, { retriever, corrector });
    expect((await readVectors(file, { retriever, corpus })).manifest?.corrector).toEqual(corrector);
    const other = smallRetriever({ kind: 'static', seed: 5 });
    expect((await refusal(file, { retriever: other })).message).toContain(
      `${space} (moved there from aaaa by a ridge corrector)`,
    );
    await expect(
      writeVectors(file, vectors, corpus, { retriever, corrector: { ...corrector, toSpace: 'bbbb' } }),
    ).rejects.toThrow(/gives vectors of the embedding space bbbb/);
  });
});

describe('the space of an index', () => {
  it('must be that of the queries, where both are known', async () => {
    const index = ExactIndex.create(vectors, 32, { threads: 1, embeddingSpace: space });
    const query = vectors.slice(0, 32);
    expect((await index.search(query, 1, { embeddingSpace: space })).rows[0]).toBe(0);
    expect((await index.search(query, 1)).rows[0]).toBe(0);
    await expect(index.search(query, 1, { embeddingSpace: 'other' })).rejects.toThrow(UsageError);
    await expect(index.search(query, 1, { embeddingSpace: 'other' })).rejects.toThrow(
      `vectors of the embedding space ${space}, the queries are of other`,
    );
    await index.dispose();
    const unknown = ExactIndex.create(vectors, 32, { threads: 1 });
    expect((await unknown.search(query, 1, { embeddingSpace: 'other' })).rows[0]).toBe(0);
    await unknown.dispose();
  });

  it('is checked by retrieve, with side and corpus', async () => {
    const lines = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    const documents = lines(records.map(({ id, text }) => ({ _id: id, text })));
    const files = (corpus: string) => ({
      'corpus.jsonl': corpus,
      'queries.jsonl': lines([{ _id: 'q', text: 'opens a file' }]),
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\td0\t1\n',
    });
    const data = await loadData(tempFiles(files(documents)));
    const shuffled = await loadData(
      tempFiles(files(lines(records.map(({ id, text }) => ({ _id: id, text })).reverse()))),
    );
    const task = retrievalTask(data, 'test');
    const options = { threads: 1, topK: 2 };
    const file = await stored();
    const documentEmbeddings = await readVectors(file, { retriever, corpus });
    const fresh = await retrieve(retriever, data, task, options);
    expect(await retrieve(retriever, data, task, { ...options, documentEmbeddings })).toEqual(fresh);
    await expect(retrieve(retriever, shuffled, task, { ...options, documentEmbeddings })).rejects.toThrow(
      /the stored vectors are of another corpus/,
    );
    const other = smallRetriever({ kind: 'static', seed: 5 });
    await expect(retrieve(other, data, task, { ...options, documentEmbeddings })).rejects.toThrow(
      new RegExp(`embedding space ${space}, the model at hand has ${embeddingSpaceId(other)}`),
    );
    await writeVectors(file, vectors, corpus, { retriever, side: 'query' });
    const queries = await readVectors(file, { retriever, corpus, side: 'query' });
    await expect(
      retrieve(retriever, data, task, { ...options, documentEmbeddings: queries }),
    ).rejects.toThrow(/encoded as side query, not as document/);
  });
});

it('the digest of rows depends on their order and borders, and not on the length of a buffer', async () => {
  const digest = (texts: readonly string[]) => {
    const rows = new RowDigest();
    for (const text of texts) rows.add(text);
    return rows.digest();
  };
  const long = 'x'.repeat(100_000);
  const variants = [['ab', 'c'], ['a', 'bc'], ['c', 'ab'], ['ab', 'c', ''], [long, 'ab'], ['ab', long], []];
  expect(new Set(variants.map(digest)).size).toBe(variants.length);
  const rows = new RowDigest();
  for (const text of ['é', long]) rows.add(Buffer.from(text));
  expect(rows.digest()).toBe(digest(['é', long]));
});

it('the file is an ordinary .npy file', async () => {
  expect(await readNpy(await stored())).toEqual({ dtype: 'f32', dims: [4, 32], data: vectors });
});
