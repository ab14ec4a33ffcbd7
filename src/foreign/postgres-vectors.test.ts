import { PGlite } from '@electric-sql/pglite';
import { vector as pgvector } from '@electric-sql/pglite-pgvector';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres, startPostgres, type TestServer } from '../../test/postgres-server.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import {
  backfillVectors,
  cutOverVectors,
  embedRows,
  rollBackVectors,
  startVectorMigration,
} from './migrate-vectors.ts';
import type { PostgresNames } from './postgres-address.ts';
import { PostgresVectors } from './postgres-vectors.ts';
import type { SqlClient } from './sql-client.ts';
import { ORIGINAL } from './vector-store.ts';

const compute = { threads: 1 };
const old = smallRetriever({ kind: 'static' });
const wider = smallRetriever({ kind: 'static', hidden: 48, seed: 12 });
const [from, to] = [embeddingSpaceId(old), embeddingSpaceId(wider)];
const ROWS = 200;
const texts = Array.from({ length: ROWS }, (_, i) => phraseText([i, i * 7, i * 13, i * 29, i >> 3]));
const fit = { from: old, sample: 80, correctors: ['ridge'], ...compute } as const;
const never = async () => {
  throw new Error('not needed');
};

const numbers = (values: ArrayLike<number>, type: string) =>
  type.endsWith('[]') ? `{${Array.from(values)}}` : `[${Array.from(values)}]`;

/** Makes a table of a user with texts and vectors of the old model. */
async function fill(client: SqlClient, type: string, { table = 'passages', column = 'embedding' } = {}) {
  await client.query(`DROP TABLE IF EXISTS "${table}" CASCADE`);
  await client.query(
    `CREATE TABLE "${table}" (id bigint PRIMARY KEY, lang text, text text, "${column}" ${type}, year int)`,
  );
  const vectors = await old.encode('document', texts, compute);
  for (const [i, text] of texts.entries()) {
    await client.query(`INSERT INTO "${table}" VALUES ($1, 'en', $2, $3::${type}, 2020)`, [
      i * 3,
      text,
      numbers(vectors.subarray(i * 32, (i + 1) * 32), type),
    ]);
  }
}

const contents = async (client: SqlClient) =>
  (await client.query('SELECT id, lang, text, embedding::text AS embedding, year FROM passages ORDER BY id'))
    .rows;

/** Names of the tables and views that are there. */
const relations = async (client: SqlClient) => {
  const { rows } = await client.query(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1`,
  );
  return (rows as { name: string }[]).map(({ name }) => name);
};

/** Searches the view by the SQL of a user. */
async function sqlSearch(client: SqlClient, type: string, query: Float32Array, k: number) {
  const given = `$1::${type.endsWith('[]') ? type : `vector(${query.length})`}`;
  const order = type.endsWith('[]')
    ? `(SELECT sum(a * b) FROM unnest(embedding, ${given}) AS pair(a, b)) DESC`
    : `embedding <=> ${given}`;
  const { rows } = await client.query(
    `SELECT id::int AS id, lang, undrift_corrected AS corrected FROM passages_current ORDER BY ${order} LIMIT ${k}`,
    [numbers(query, type)],
  );
  return rows as { id: number; lang: string; corrected: boolean }[];
}

const kinds = [
  { kind: 'pgvector (PGlite)', type: 'vector(32)', skip: undefined },
  { kind: 'pgvector in half precision (PGlite)', type: 'halfvec(32)', skip: undefined },
  { kind: 'real[] on a server', type: 'real[]', skip: noPostgres },
  { kind: 'double precision[] on a server', type: 'double precision[]', skip: noPostgres },
];

/** Started once for all tests of this file. */
let server: TestServer | undefined;
beforeAll(async () => {
  if (noPostgres === undefined) server = await startPostgres();
}, 120_000);
afterAll(() => server?.stop());

describe.each(kinds)('$kind', ({ type, skip }) => {
  let client: SqlClient & { end?(): Promise<void>; close?(): Promise<void> };

  beforeAll(async () => {
    if (skip !== undefined) return;
    if (type.endsWith('[]')) {
      client = await server!.connect();
    } else {
      const lite = await PGlite.create({ extensions: { vector: pgvector } });
      await lite.query('CREATE EXTENSION vector');
      client = lite as unknown as SqlClient;
    }
  }, 120_000);

  afterAll(async () => {
    await client?.end?.();
    await client?.close?.();
  });

  it.skipIf(skip !== undefined)(`reads and writes rows${skip === undefined ? '' : `: ${skip}`}`, async () => {
    await fill(client, type);
    await client.query('UPDATE passages SET embedding = NULL WHERE id = 0');
    const store = await PostgresVectors.open(client, { table: 'passages' });
    expect(await store.describe()).toEqual({
      rows: ROWS,
      original: { dimension: 32, rows: ROWS - 1 },
      spaces: [],
    });
    const space = { id: 'ab'.repeat(8), dimension: 4, model: 'm', steps: 5, added: 1 };
    const page = await store.read({ space: ORIGINAL, texts: true, after: '3', limit: 2 });
    expect(page.map(({ id, text }) => [id, text])).toEqual([
      ['6', texts[2]],
      ['9', texts[3]],
    ]);
    const [expected] = [await old.encode('document', [texts[2]!], compute)];
    for (const [d, value] of page[0]!.vector!.values.entries()) expect(value).toBeCloseTo(expected[d]!, 2);
    const values = Float32Array.of(0.1, -1e-20, 3, 1 / 3);
    const row = (id: string, corrected: boolean, version = page[0]!.version) => ({
      id,
      version,
      values,
      step: 5,
      time: 1_700_000_000_123,
      corrected,
    });
    await store.write(space, [row('6', true), row('9', false, page[1]!.version), row('5', false)]);
    const lacking = { space: space.id, what: 'true vector' } as const;
    const written = await store.read({
      space: space.id,
      texts: false,
      after: null,
      limit: 9,
      ids: ['9', '6', '0'],
    });
    expect(written.map(({ id, vector }) => [id, vector?.corrected])).toEqual([
      ['0', undefined],
      ['6', true],
      ['9', false],
    ]);
    expect(written[2]!.vector).toMatchObject({ step: 5, time: 1_700_000_000_123 });
    if (type !== 'halfvec(32)') expect(written[2]!.vector!.values).toEqual(values);
    // A corrected vector never replaces a true one, and an id without a row is left out.
    await store.write(space, [{ ...row('9', true, page[1]!.version), step: 6 }]);
    expect(await store.describe()).toMatchObject({ spaces: [{ id: space.id, rows: 2, corrected: 1 }] });
    const missing = await store.read({ space: null, texts: false, after: null, limit: 1000, lacking });
    expect(missing).toHaveLength(ROWS - 1);
    const none = await store.read({
      space: null,
      texts: false,
      after: null,
      limit: 1000,
      lacking: { space: space.id, what: 'vector' },
    });
    expect(none).toHaveLength(ROWS - 2);
    // A changed text makes its vector count as lacking.
    await client.query(`UPDATE passages SET text = 'other' WHERE id = 9`);
    expect(await store.describe()).toMatchObject({ spaces: [{ rows: 1, corrected: 1 }] });
    await store.drop(space.id);
    await store.drop(space.id);
    expect(await store.describe()).toMatchObject({ spaces: [] });
  });

  it.skipIf(skip !== undefined)('migrates, with searches by SQL at every moment', async () => {
    await fill(client, type);
    const before = await contents(client);
    const store = await PostgresVectors.open(client, { table: 'passages' });
    const truth = await wider.encode('document', texts, compute);
    const near = (query: Float32Array) =>
      texts
        .map((_, i) => ({
          id: i * 3,
          score: query.reduce((sum, value, d) => sum + value * truth[i * 48 + d]!, 0),
        }))
        .sort((a, b) => b.score - a.score);
    const query = await wider.encode('query', ['reads whole array of bytes'], compute);
    await startVectorMigration(store, wider, { ...fit, model: 'new' });
    expect(await relations(client)).toEqual([
      'passages',
      'passages_current',
      `undrift_passages_${to}`,
      'undrift_state',
    ]);
    const mixed = await sqlSearch(client, type, query, 20);
    expect(mixed.some(({ corrected }) => corrected)).toBe(true);
    expect(mixed[0]!.lang).toBe('en');
    const best = new Set(
      near(query)
        .slice(0, 20)
        .map(({ id }) => id),
    );
    expect(mixed.filter(({ id }) => best.has(id)).length).toBeGreaterThanOrEqual(8);
    const hits = new Map((await store.search(to, query, ROWS)).map(({ id, score }) => [Number(id), score]));
    for (const [rank, { id }] of mixed.entries())
      expect(hits.get(id)).toBeLessThan((hits.get(mixed[rank - 1]?.id ?? -1) ?? 2) + 1e-3);
    expect([...hits.values()]).toEqual([...hits.values()].sort((x, y) => y - x));

    await backfillVectors(store, wider, { commitRows: 30, ...compute });
    const full = await sqlSearch(client, type, query, 10);
    const scores = near(query);
    for (const [rank, { id }] of full.entries())
      expect(scores.find((each) => each.id === id)!.score).toBeCloseTo(scores[rank]!.score, 2);
    await cutOverVectors(store);
    expect(await contents(client)).toEqual(before);

    // Back to the first model: its dimension is another one, and the view follows.
    await startVectorMigration(store, old, { ...fit, from: undefined });
    expect((await store.readState())!.current).toBe(from);
    const [stamps] = (
      await client.query(
        'SELECT count(*)::int AS rows, max(undrift_corrected::int) AS corrected FROM passages_current',
      )
    ).rows;
    expect(stamps).toEqual({ rows: ROWS, corrected: 1 });
    expect(await rollBackVectors(store, never, compute)).toBe(0);
    expect((await store.readState())!.current).toBe(to);
    expect(await sqlSearch(client, type, query, 10)).toEqual(full);
    expect(await relations(client)).not.toContain(`undrift_passages_${from}`);
    await client.query(`DROP VIEW passages_current`);
    await client.query(`DROP TABLE undrift_state, undrift_passages_${to}`);
  });

  it.skipIf(skip !== undefined)('is undone: the view has the original vectors again', async () => {
    await fill(client, type);
    const store = await PostgresVectors.open(client, { table: 'passages' });
    const before = await contents(client);
    await startVectorMigration(store, wider, fit);
    await client.query(`INSERT INTO passages VALUES (1, 'de', 'opens', NULL, 2021)`);
    await backfillVectors(store, wider, compute);
    expect(await rollBackVectors(store, never, compute)).toBe(0);
    await client.query('DELETE FROM passages WHERE id = 1');
    expect(await contents(client)).toEqual(before);
    expect(await relations(client)).toEqual(['passages', 'passages_current', 'undrift_state']);
    const [query] = [await old.encode('query', [texts[5]!], compute)];
    const found = await client.query('SELECT embedding::text AS embedding FROM passages_current ORDER BY id');
    expect(found.rows).toEqual(
      before.map((row) => ({ embedding: (row as { embedding: string }).embedding })),
    );
    expect((await store.search(ORIGINAL, query, 3)).length).toBe(3);
    await client.query('DROP VIEW passages_current');
    await client.query('DROP TABLE undrift_state');
  });

  it.skipIf(skip !== undefined)('embeds a table without vectors, under any names', async () => {
    const table = `it's a "table" of passages; -- with a name that is too long for others`.slice(0, 60);
    const q = (name: string) => `"${name.replaceAll('"', '""')}"`;
    await client.query(`DROP TABLE IF EXISTS ${q(table)} CASCADE`);
    await client.query(
      `CREATE TABLE ${q(table)} ("k'ey" text COLLATE "C" UNIQUE NOT NULL, "a""b" text, "T" varchar(99))`,
    );
    for (const [i, text] of texts.slice(0, 20).entries())
      await client.query(`INSERT INTO ${q(table)} VALUES ($1, $2, 'title')`, [
        `k\\'${i}`,
        i === 3 ? null : text,
      ]);
    const names: PostgresNames = { table, id: "k'ey", text: 'a"b', title: 'T', view: 'my "view"' };
    const store = await PostgresVectors.open(client, names);
    expect(await embedRows(store, wider, { commitRows: 7, ...compute })).toEqual({
      embedded: 19,
      missing: 0,
    });
    const query = await wider.encode('query', [texts[0]!], compute);
    expect(await store.search(to, query, 2)).toMatchObject([{ title: 'title' }, { title: 'title' }]);
    const { rows } = await client.query(`SELECT "a""b", undrift_space FROM "my ""view""" WHERE "k'ey" = $1`, [
      `k\\'7`,
    ]);
    expect(rows).toEqual([{ 'a"b': texts[7], undrift_space: to }]);
    const untitled = await PostgresVectors.open(client, { ...names, title: undefined });
    await expect(untitled.readState()).rejects.toThrow(
      /vectors were written with title=T, the address has no title=/,
    );
    const unseen = await PostgresVectors.open(client, { ...names, view: '' });
    await expect(unseen.readState()).rejects.toThrow(/view=my "view"/);
    await client.query(`DROP TABLE undrift_state, ${q(table)}, ${store.place(to)} CASCADE`);
  });
});

describe.skipIf(noPostgres !== undefined)(
  `a server of PostgreSQL${noPostgres ? `: ${noPostgres}` : ''}`,
  () => {
    let server: TestServer;
    beforeAll(async () => {
      server = await startPostgres();
    }, 120_000);
    afterAll(() => server.stop());
    const connect = (names = 'table=passages') => PostgresVectors.connect(`${server.address}?${names}`);

    it('loses nothing when it crashes in the middle of a migration', async () => {
      let client = await server!.connect();
      await fill(client, 'real[]');
      await client.end();
      const store = await connect();
      await startVectorMigration(store, wider, fit);
      let pages = 0;
      const dying = backfillVectors(store, wider, {
        commitRows: 10,
        workShare: 0.2,
        ...compute,
        onProgress: () => {
          pages += 1;
          if (pages === 3) void server!.crash();
        },
      });
      await expect(dying).rejects.toThrow(/help: .*goes on where it was/);
      await store.close().catch(() => {});
      const again = await (async () => {
        for (;;) {
          try {
            return await connect();
          } catch {
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        }
      })();
      const { spaces, rows } = await again.describe();
      expect(spaces[0]!.rows).toBe(rows);
      expect(spaces[0]!.rows - spaces[0]!.corrected).toBeGreaterThanOrEqual(80 + 3 * 10);
      const { embedded, missing } = await backfillVectors(again, wider, compute);
      expect(missing).toBe(0);
      expect(embedded).toBeLessThanOrEqual(ROWS - 110);
      await cutOverVectors(again);
      await again.close();
      client = await server!.connect();
      await client.query('DROP VIEW passages_current');
      await client.query(`DROP TABLE undrift_state, undrift_passages_${to}`);
      await client.end();
    }, 60_000);

    it('lets one of two processes change the state', async () => {
      const client = await server!.connect();
      await fill(client, 'real[]');
      const [a, b] = [await connect(), await connect()];
      const starts = await Promise.allSettled([
        startVectorMigration(a, wider, fit),
        startVectorMigration(b, smallRetriever({ kind: 'static', seed: 11 }), fit),
      ]);
      expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      const failed = starts.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
      expect(String(failed.reason)).toMatch(/another process has changed|is under way/);
      await a.close();
      await b.close();
      await client.query('DROP VIEW passages_current');
      await client.query('DROP TABLE undrift_state');
      await client.end();
    });

    it('explains what is wrong with an address', async () => {
      const client = await server!.connect();
      await client.query('DROP TABLE IF EXISTS passages CASCADE');
      await client.query(
        'CREATE TABLE passages (id int, text text, a real[], b real[], PRIMARY KEY (id, text))',
      );
      await client.query('CREATE TABLE keyed (id int PRIMARY KEY, text text, a real[], b real[])');
      await client.query('CREATE TABLE keyed_current (id int)');
      for (const [names, message] of [
        ['table=passage', /no table "passage"\. Did you mean 'passages'\?[\s\S]*tables in sight: keyed/],
        ['tabel=passages', /unknown parameter tabel=.* Did you mean 'table'\?/],
        ['text=text', /names no table[\s\S]*\?table=passages/],
        ['table=passages&vector=a', /no primary key of one column[\s\S]*id=NAME/],
        ['table=passages&vector=a&id=id', /"id" may hold null or an id twice[\s\S]*ADD PRIMARY KEY/],
        ['table=keyed', /2 columns of vectors: a, b[\s\S]*vector=NAME/],
        ['table=keyed&vector=text', /"text" is of type text, which holds no vectors/],
        ['table=keyed&vector=c', /no column "c"/],
        ['table=keyed&vector=a&text=txt', /no column "txt"\. Did you mean 'text'\?[\s\S]*text=NAME/],
      ] as const) {
        await expect(connect(names)).rejects.toThrow(message);
      }
      const wrongPort = server!.address.replace(/:\d+\//, ':1/').replace('tester', 'tester:secret');
      await expect(PostgresVectors.connect(`${wrongPort}?table=keyed`)).rejects.toThrow(
        /^postgres:\/\/tester@127\.0\.0\.1:1\/postgres\?table=keyed: .*ECONNREFUSED[\s\S]*check host and port/,
      );
      await expect(
        PostgresVectors.connect(`${server!.address.replace('/postgres', '/none')}?table=keyed`),
      ).rejects.toThrow(/check the name of the database/);
      // A view of that name is somebody else's.
      await client.query(`INSERT INTO keyed VALUES (1, 'opens'), (2, 'reads')`);
      const store = await connect('table=keyed&vector=a');
      await expect(embedRows(store, wider, compute)).rejects.toThrow(
        /"keyed_current" already[\s\S]*view=NAME/,
      );
      expect(await store.readState()).toBeNull();
      await store.close();
      // Another role without rights on the schema.
      await client.query('CREATE ROLE reader LOGIN');
      await client.query('GRANT SELECT ON keyed TO reader');
      const reader = await PostgresVectors.connect(
        `${server!.address.replace('tester', 'reader')}?table=keyed&vector=a&view=`,
      );
      await expect(embedRows(reader, wider, compute)).rejects.toThrow(/permission denied[\s\S]*needs SELECT/);
      await reader.close();
      await client.end();
    });
  },
);
