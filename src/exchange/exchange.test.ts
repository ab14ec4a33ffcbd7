import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemoryVectors } from '../../examples/own-vector-store.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { startVectorMigration } from '../foreign/migrate-vectors.ts';
import { readNpy } from '../io/npy.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import {
  EXCHANGE_FORMATS,
  type ExchangeRow,
  type ExchangeSource,
  formatOf,
  rowJson,
} from './exchange-row.ts';
import { databaseVectors, exportVectors, storeVectors } from './export-vectors.ts';
import { importToDatabase, importVectors } from './import-vectors.ts';
import { readRows } from './read-rows.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const compute = { threads: 1 };
const model = smallRetriever({ kind: 'static' });
const other = smallRetriever({ kind: 'static', seed: 11 });
const space = embeddingSpaceId(model);
const passages = Array.from({ length: 60 }, (_, i) => ({
  id: i === 0 ? 'quoted "id",\n2' : `p${i}`,
  title: i % 3 === 0 ? 'Tïtle' : '',
  text: phraseText([i, i * 7, i * 13, i >> 2]),
  ...(i % 2 === 0 && { metadata: { year: 2000 + i, tags: ['a', null] } }),
}));

const row = (fields: Partial<ExchangeRow> = {}): ExchangeRow => ({
  id: 'a',
  title: null,
  text: 'opens',
  metadata: null,
  space,
  step: 7,
  time: 1_700_000_000_123,
  corrected: false,
  vector: Float32Array.of(0.1, -0, 1e-45, -3.4028235e38),
  ...fields,
});
const sourceOf = (rows: readonly ExchangeRow[], dimension = 4): ExchangeSource => ({
  space: { id: space, dimension, model: 'runs/m' },
  total: rows.length,
  async *rows() {
    for (let i = 0; i < rows.length; i += 2) yield rows.slice(i, i + 2);
  },
});
const all = async <T>(rows: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const each of rows) found.push(each);
  return found;
};
const bare = async (path: string): Promise<ExchangeRow[]> =>
  (await all(readRows(path))).map(({ file: _file, line: _line, ...rest }) => rest);

const open = () => Store.open(join(tempFiles(), 'store'), { create: TERMS });
let indexed: Store;
beforeAll(async () => {
  indexed = await open();
  await indexPassages(indexed, model, passages, { model: 'm', ...compute });
}, 60_000);

describe.each(EXCHANGE_FORMATS)('%s', (format) => {
  const fileIn = (folder: string) =>
    join(folder, { jsonl: 'v.jsonl', parquet: 'v.parquet', npy: 'v/' }[format]);

  it('gives the same rows and bytes of vectors', async () => {
    const path = fileIn(tempFiles());
    const rows = [
      row({ title: 'T', metadata: { a: [1, { b: null }] } }),
      row({ id: '\u0000 "b"\n', text: null, corrected: true, vector: Float32Array.of(1, 2, 3, 2 ** -149) }),
      row({ id: 'c', text: '', step: 0, time: 0 }),
    ];
    expect(await exportVectors(sourceOf(rows), path, { format })).toBe(3);
    const found = await bare(path);
    expect(found).toEqual(rows);
    expect(found.map(({ vector }) => Buffer.from(vector.buffer))).toEqual(
      rows.map(({ vector }) => Buffer.from(vector.buffer)),
    );
  });

  it('copies a store', async () => {
    const path = fileIn(tempFiles());
    const done: number[] = [];
    expect(
      await exportVectors(await storeVectors(indexed), path, {
        format,
        onProgress: (p) => done.push(p.done),
      }),
    ).toBe(60);
    expect(done.at(-1)).toBe(60);
    const copy = await open();
    await expect(importVectors(copy, readRows(path))).rejects.toThrow(
      /has vectors of the embedding space \w+, which .* does not know[\s\S]*model/,
    );
    await expect(importVectors(copy, readRows(path), { retriever: other })).rejects.toThrow(
      /the model is of/,
    );
    expect(await importVectors(copy, readRows(path), { retriever: model, model: 'm' })).toEqual({
      space,
      read: 60,
      added: 60,
      changed: 0,
      vectors: 60,
      correctedLeftOut: 0,
    });
    expect(copy.head).toMatchObject({ current: space, spaces: [{ id: space, model: 'm', dimension: 32 }] });
    const again = fileIn(tempFiles());
    await exportVectors(await storeVectors(copy), again, { format });
    expect(await bare(again)).toEqual(await bare(path));
    expect(await importVectors(copy, readRows(path))).toMatchObject({ added: 0, changed: 0, vectors: 60 });
    // Vectors alone go to passages that are there.
    const vectors = fileIn(tempFiles());
    await exportVectors(await storeVectors(indexed, { texts: false }), vectors, { format });
    expect((await bare(vectors)).every(({ text, metadata }) => text === null && metadata === null)).toBe(
      true,
    );
    expect(await importVectors(copy, readRows(vectors))).toMatchObject({ added: 0, changed: 0, vectors: 60 });
    const empty = await open();
    await expect(importVectors(empty, readRows(vectors), { retriever: model })).rejects.toThrow(
      /: the store has no passage .*, and the row has no text/,
    );
  });
});

describe('files of other programs', () => {
  it('JSONL has one object a line', async () => {
    const path = join(tempFiles(), 'v.jsonl');
    await exportVectors(sourceOf([row({ title: 'T' })]), path, { format: 'jsonl' });
    expect(readFileSync(path, 'utf8')).toBe(
      `{"id":"a","title":"T","text":"opens","space":"${space}","step":7,"time":1700000000123,"vector":[0.1,-0,1.40129846e-45,-3.40282347e+38]}\n`,
    );
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path)));
    expect(await bare(`${path}.gz`)).toEqual(await bare(path));
  });

  it('Parquet names the space, and has columns of standard types', async () => {
    const path = join(tempFiles(), 'v.parquet');
    const rows = Array.from({ length: 300 }, (_, i) => row({ id: `${i}` }));
    await exportVectors(sourceOf(rows), path, { format: 'parquet' });
    const bytes = readFileSync(path);
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    const metadata = await parquetMetadataAsync(file);
    expect(metadata.key_value_metadata).toEqual([
      { key: 'undrift.space', value: space },
      { key: 'undrift.dimension', value: '4' },
      { key: 'undrift.model', value: 'runs/m' },
    ]);
    const [first] = await parquetReadObjects({ file });
    expect(first).toMatchObject({ id: '0', step: 7, time: new Date(1_700_000_000_123), corrected: false });
  });

  it('Parquet of pyarrow, with lists of fixed length, whole numbers as ids and no stamps', async () => {
    const fixture = fileURLToPath(new URL('./fixtures/pyarrow.parquet', import.meta.url));
    expect(await bare(fixture)).toEqual(
      [
        row({
          id: '1',
          title: 'T',
          text: 'x',
          step: 0,
          metadata: { year: 2020 },
          vector: Float32Array.of(1.5, -0, 0.1),
        }),
        row({ id: '2', text: 'y', step: 0, time: 0, vector: Float32Array.of(2.5, 2.5, 1e-45) }),
      ].map((each) => ({ ...each, space: 'ab'.repeat(8) })),
    );
  });

  it('.npy is that of numpy, with ids beside it', async () => {
    const path = join(tempFiles(), 'v');
    await exportVectors(sourceOf([row(), row({ id: 'b' })]), path, { format: 'npy' });
    expect(await readNpy(join(path, 'vectors.npy'))).toMatchObject({ dtype: 'f32', dims: [2, 4] });
    expect(readFileSync(join(path, 'rows.jsonl'), 'utf8').split('\n')[1]).toBe(
      rowJson(row({ id: 'b' }), false),
    );
    expect(JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8'))).toEqual({
      undriftVectors: 1,
      space,
      dimension: 4,
      model: 'runs/m',
      rows: 2,
    });
    mkdirSync(join(path, '..', 'mine'));
    writeFileSync(join(path, '..', 'mine', 'x'), '');
    await expect(
      exportVectors(sourceOf([row()]), join(path, '..', 'mine'), { format: 'npy' }),
    ).rejects.toThrow(/is not empty, and no folder of vectors \(it holds x\)/);
    writeFileSync(join(path, 'rows.jsonl'), `${rowJson(row(), false)}\n`);
    await expect(bare(path)).rejects.toThrow(/rows\.jsonl: 1 rows, but 2 vectors/);
  });

  it('nothing is left of an export that fails', async () => {
    for (const format of EXCHANGE_FORMATS) {
      const folder = tempFiles();
      const failing: ExchangeSource = {
        ...sourceOf([]),
        async *rows() {
          yield [row()];
          throw new Error('gone');
        },
      };
      await expect(exportVectors(failing, join(folder, 'v'), { format })).rejects.toThrow('gone');
      expect(existsSync(join(folder, 'v'))).toBe(false);
    }
  });

  it('the name says the format', () => {
    expect(['a.jsonl', 'a.ndjson.gz', 'b.PARQUET', 'c/'].map(formatOf)).toEqual([
      'jsonl',
      'jsonl',
      'parquet',
      'npy',
    ]);
    expect(() => formatOf('vectors.csv')).toThrow(/does not say which format/);
  });
});

describe('an import refuses', () => {
  const vector = Array.from({ length: 32 }, () => 0.5);
  const good = { id: 'a', text: 'opens', space, step: 1, time: 1, vector };
  const cases: [string, unknown[], RegExp][] = [
    [
      'another dimension',
      [good, { ...good, id: 'b', vector: [1, 2] }],
      /v\.jsonl:2: .*has 2 dimensions, the space/,
    ],
    [
      'two spaces',
      [good, { ...good, id: 'b', space: 'f'.repeat(16) }],
      /v\.jsonl:2: .*of the space f+, those before/,
    ],
    ['an id twice', [good, good], /v\.jsonl:2: id "a" was used before/],
    ['an empty id', [{ ...good, id: '' }], /v\.jsonl:1: a row needs an id/],
    ['no id', [{ ...good, id: undefined }], /v\.jsonl:1: field "id" should be a text, found nothing/],
    ['no space', [{ ...good, space: null }], /v\.jsonl:1: field "space"/],
    ['a vector of texts', [{ ...good, vector: ['1'] }], /v\.jsonl:1: field "vector\[0\]" should be a number/],
    ['no vector', [{ ...good, vector: undefined }], /v\.jsonl:1: field "vector" should be a list of numbers/],
    [
      'a number beyond f32',
      [{ ...good, vector: [...vector.slice(1), 1e39] }],
      /v\.jsonl:1: vector\[31\] is Infinity/,
    ],
    ['a text for a step', [{ ...good, step: 'x' }], /v\.jsonl:1: field "step" should be a number ≥ 0/],
    ['a list as metadata', [{ ...good, metadata: [] }], /v\.jsonl:1: field "metadata" should be an object/],
  ];

  it.each(cases)('%s', async (_, rows, message) => {
    const path = join(tempFiles(), 'v.jsonl');
    writeFileSync(path, rows.map((each) => `${JSON.stringify(each)}\n`).join(''));
    await expect(importVectors(await open(), readRows(path), { retriever: model })).rejects.toThrow(message);
  });

  it('NaN, as Python writes it', async () => {
    const path = join(tempFiles(), 'v.jsonl');
    writeFileSync(
      path,
      JSON.stringify({ ...good, vector: ['NaN', ...vector.slice(1)] }).replace('"NaN"', 'NaN'),
    );
    await expect(importVectors(await open(), readRows(path), { retriever: model })).rejects.toThrow(
      /v\.jsonl:1: /,
    );
  });
});

it('leaves corrected vectors out of a store', async () => {
  const rows = [
    row({ vector: new Float32Array(32).fill(0.1) }),
    row({ id: 'b', corrected: true, vector: new Float32Array(32) }),
  ];
  const path = join(tempFiles(), 'v.parquet');
  await exportVectors(sourceOf(rows, 32), path, { format: 'parquet' });
  const store = await open();
  expect(await importVectors(store, readRows(path), { retriever: model })).toMatchObject({
    added: 2,
    vectors: 1,
    correctedLeftOut: 1,
  });
});

it('moves vectors of a database in migration to a copy, with their stamps', async () => {
  const make = () =>
    new MemoryVectors(passages.map(({ id, text }) => [id, { text, vector: new Float32Array(32).fill(0.2) }]));
  const vectors = await model.encode(
    'document',
    passages.map(({ text }) => text),
    compute,
  );
  const store = make();
  for (const [i, { id }] of passages.entries())
    store.rows.get(id)!.vector.set(vectors.subarray(i * 32, (i + 1) * 32));
  const start = { from: model, sample: 30, correctors: ['ridge'], ...compute } as const;
  await startVectorMigration(store, other, start);
  const path = join(tempFiles(), 'v.jsonl');
  expect(await exportVectors(await databaseVectors(store), path, { format: 'jsonl' })).toBe(60);
  const rows = await bare(path);
  expect(rows.filter(({ corrected }) => corrected)).toHaveLength(30);
  const original = join(tempFiles(), 'o.jsonl');
  await exportVectors(await databaseVectors(store, { space }), original, { format: 'jsonl' });
  expect((await bare(original)).map(({ vector }) => vector)).toEqual(
    [...store.rows.values()].map((r) => r.vector),
  );
  await expect(databaseVectors(store, { space: 'none' })).rejects.toThrow(
    /no vectors of the embedding space none[\s\S]*spaces: /,
  );

  const to = embeddingSpaceId(other);
  const written = store.spaces.get(to)!;
  written.clear();
  expect(await importToDatabase(store, readRows(path))).toMatchObject({ read: 60, vectors: 60, space: to });
  expect((await store.describe()).spaces).toEqual([{ id: to, rows: 60, corrected: 30 }]);
  store.rows.get('p5')!.text = 'another';
  await expect(importToDatabase(store, readRows(path))).rejects.toThrow(
    /v\.jsonl:\d+: the text of "p5" is another/,
  );
  await expect(importToDatabase(store, readRows(original))).rejects.toThrow(/has vectors of another space/);
});
