import { expect, test } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { jobFile, readEmbeddings, writeJob } from '../models/background/encode-job.ts';
import { blockEnds } from '../models/retriever/encode-blocks.ts';
import { TokenStore } from '../text/token-store.ts';
import type { EmbeddedRows } from './shard-keeper.ts';
import { TableShard } from './table-shard.ts';

const D = 3;
const ROWS = 2500;
const DOCUMENTS = Uint32Array.from({ length: ROWS }, (_, row) => 3 * row + 1);
const lengths = Int32Array.from({ length: 3 * ROWS }, (_, document) => document % 5);

async function opened(Tokens: typeof Uint16Array | typeof Int32Array) {
  const folder = tempFiles({});
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const ids = Int32Array.from({ length: total }, (_, i) => i % 1000);
  const store = TokenStore.of(lengths, new Tokens(ids));
  const ends = blockEnds(Int32Array.from(DOCUMENTS, (document) => lengths[document]!));
  const { tokens } = await writeJob(folder, 1, {}, { store, rows: DOCUMENTS, ends });
  const embeddingsFile = jobFile(folder, 1, 'embeddings');
  const shard = await TableShard.open({
    shard: 'table',
    version: { id: 'v7', step: 7, dimension: D, folder },
    documents: DOCUMENTS,
    tokensFile: jobFile(folder, 1, 'tokens'),
    tokens,
    embeddingsFile,
  });
  return { shard, store, ends, embeddingsFile };
}

const vectorsOf = (rows: Uint32Array) =>
  Float32Array.from({ length: rows.length * D }, (_, i) => rows[0]! + i);
const results = (shard: TableShard, rows: Uint32Array, more: Partial<EmbeddedRows> = {}): EmbeddedRows => ({
  ...{ version: 'v7', rows, marks: shard.marks(rows), vectors: vectorsOf(rows) },
  ...more,
});

test.each([Uint16Array, Int32Array])(
  'hands out blocks and tokens, and stores what comes back',
  async (Tokens) => {
    const { shard, store, ends, embeddingsFile } = await opened(Tokens);
    expect(await shard.wanted()).toMatchObject({ id: 'v7', step: 7, dimension: D });
    const blocks = await shard.stale({ after: -1, blocks: 10 });
    expect(blocks.map((block) => [block[0], block.length])).toEqual([
      [0, 1024],
      [1024, 1024],
      [2048, 452],
    ]);
    expect(await shard.stale({ after: 0, blocks: 1 })).toEqual([blocks[1]]);
    const found = await shard.tokens(blocks[1]!);
    expect(found.rows).toEqual(blocks[1]);
    let at = 0;
    for (const [i, row] of found.rows.entries()) {
      const own = store.tokens(DOCUMENTS[row]!);
      expect(found.lengths[i]).toBe(own.length);
      expect(found.tokens.slice(at, at + own.length)).toEqual(own);
      at += own.length;
    }
    expect(at).toBe(found.tokens.length);

    expect(await shard.put([results(shard, blocks[1]!)])).toBe(1024);
    expect(shard.lastStale).toEqual({ first: 2048, end: 2500 });
    expect(await shard.put([results(shard, blocks[2]!), results(shard, blocks[2]!)])).toBe(452);
    expect(await shard.counts()).toEqual({
      rows: ROWS,
      stale: 1024,
      versions: [{ id: 'v7', step: 7, rows: 1476 }],
    });
    expect(shard.lastStale).toEqual({ first: 0, end: 1024 });
    expect((await shard.tokens(Uint32Array.of(5, 1024, 6))).rows).toEqual(Uint32Array.of(5, 6));
    expect(await shard.put([results(shard, blocks[0]!)])).toBe(1024);
    expect([shard.done, shard.lastStale, await shard.stale({ after: -1, blocks: 9 })]).toEqual([
      ROWS,
      undefined,
      [],
    ]);
    await shard.close();
    const read: number[] = [];
    await readEmbeddings(embeddingsFile, { ends, dimension: D }, (_, vectors) => read.push(...vectors));
    expect(read).toEqual(blocks.flatMap((block) => [...vectorsOf(block)]));
  },
);

test('drops results of another version, of other documents, and rows that are stored', async () => {
  const { shard } = await opened(Uint16Array);
  const rows = Uint32Array.from({ length: 1024 }, (_, row) => row);
  expect(await shard.put([results(shard, rows, { version: 'v6' })])).toBe(0);
  const marks = shard.marks(rows);
  marks[3] = 99n;
  expect(await shard.put([results(shard, rows, { marks })])).toBe(1023);
  expect(await shard.stale({ after: -1, blocks: 1 })).toEqual([Uint32Array.of(3)]);
  expect(await shard.put([results(shard, rows)])).toBe(1);
  expect(shard.done).toBe(1024);
  await shard.close();
});

test('rows that come twice at the same time are counted once', async () => {
  const { shard } = await opened(Uint16Array);
  const rows = Uint32Array.from({ length: 1024 }, (_, row) => row);
  const stored = await Promise.all([shard.put([results(shard, rows)]), shard.put([results(shard, rows)])]);
  expect(stored).toEqual([1024, 0]);
  expect([shard.done, (await shard.counts()).stale]).toEqual([1024, ROWS - 1024]);
  await shard.close();
});
