import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres, startPostgres, type TestServer } from '../../test/postgres-server.ts';
import { MAIN, runUndrift } from '../../test/run-undrift.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import type { OwnedSqlClient } from '../foreign/sql-client.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';

const ROWS = 150;
const texts = Array.from({ length: ROWS }, (_, i) => phraseText([i, i * 7, i * 13, i * 29, i >> 3]));
/** Words of a text. A static model takes texts of the same words for equal. */
const words = (text: string) => text.split(' ').sort();
const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const folder = tempFiles({
  'data/corpus.jsonl': lines(texts.map((text, i) => ({ _id: `${i}`, text }))),
  'data/queries.jsonl': lines(texts.slice(-30).map((text, i) => ({ _id: `q${i}`, text }))),
  'data/qrels/test.tsv': `query-id\tcorpus-id\tscore\n${Array.from({ length: 30 }, (_, i) => `q${i}\t${ROWS - 30 + i}\t1\n`).join('')}`,
});
const [old, fresh] = [join(folder, 'old'), join(folder, 'new')];
const oldModel = smallRetriever({ kind: 'static' });
const newModel = smallRetriever({ kind: 'static', hidden: 48, seed: 12 });
const [from, to] = [embeddingSpaceId(oldModel), embeddingSpaceId(newModel)];

describe.skipIf(noPostgres !== undefined)(
  `undrift over PostgreSQL${noPostgres ? `: ${noPostgres}` : ''}`,
  () => {
    let server: TestServer;
    let client: OwnedSqlClient;
    let store: string;

    /** Runs a command with --json; returns its object, or that of its error. */
    async function undrift(...argv: string[]) {
      return JSON.parse((await runUndrift([...argv, '--json'], { cwd: folder })).stdout);
    }

    beforeAll(async () => {
      await saveRetriever(old, oldModel, { onnx: false });
      await saveRetriever(fresh, newModel, { onnx: false });
      server = await startPostgres();
      client = await server.connect();
      await client.query('CREATE TABLE notes (key int PRIMARY KEY, body text, embedding real[])');
      const vectors = await oldModel.encode('document', texts, { threads: 1 });
      for (const [i, text] of texts.entries()) {
        const vector = `{${Array.from(vectors.subarray(i * 32, (i + 1) * 32))}}`;
        await client.query('INSERT INTO notes VALUES ($1, $2, $3)', [i, text, vector]);
      }
      store = `${server.address.replace('tester', 'tester:secret')}?table=notes&text=body`;
    }, 180_000);

    afterAll(async () => {
      await client?.end();
      await server?.stop();
    });

    it('plans, starts, is killed, goes on, reports and cuts over', async () => {
      const before = (await client.query('SELECT * FROM notes ORDER BY key')).rows;
      const shown = `${server.address}?table=notes&text=body`;
      const plan = await undrift('migrate', 'plan', '--store', store, '--from', 'old', '--to', 'new');
      expect(plan).toMatchObject({
        store: shown,
        passages: ROWS,
        missing: ROWS,
        from: { id: from, model: old },
      });
      expect(await undrift('migrate', 'plan', '--store', store, '--to', 'new')).toMatchObject({
        error: {
          message: expect.stringContaining('nothing says which model'),
          help: expect.stringContaining('--from-space'),
        },
      });

      const fit = ['--sample', '40', '--corrector', 'ridge'];
      const slow = [MAIN, 'migrate', 'start', '--store', store, '--from', 'old', '--to', 'new', ...fit];
      const child = spawn(process.execPath, [...slow, '--threads', '1', '--rows-per-minute', '600'], {
        cwd: folder,
      });
      const stamps = async () => {
        const query = `SELECT count(*) FILTER (WHERE NOT undrift_corrected)::int AS embedded, count(*)::int AS rows,
        min(undrift_space) AS space FROM notes_current`;
        const found = await client
          .query(query)
          .catch(() => ({ rows: [{ embedded: 0, rows: 0, space: null }] }));
        return found.rows[0] as { embedded: number; rows: number; space: string | null };
      };
      for (const began = Date.now(); ; await sleep(30)) {
        const { space, embedded } = await stamps();
        if (space === to && embedded > 40) break;
        if (Date.now() - began > 60_000) throw new Error('the backfill has not begun');
      }
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      const killed = await stamps();
      expect(killed).toMatchObject({ rows: ROWS, space: to });
      expect(killed.embedded).toBeLessThan(ROWS);

      expect(await undrift('status', '--store', store)).toMatchObject({
        store: shown,
        passages: ROWS,
        original: { id: from, model: old, rows: ROWS, dimension: 32, current: false },
        spaces: [{ id: to, model: fresh, rows: ROWS, corrected: ROWS - killed.embedded, current: true }],
        view: 'notes_current',
      });
      const report = await undrift(
        'migrate',
        'report',
        '--store',
        store,
        '--data',
        'data',
        '--split',
        'test',
      );
      expect(report).toMatchObject({ queries: 30, share: killed.embedded / ROWS });
      expect(report.mixed['ndcg@10']).toBeGreaterThan(report.new['ndcg@10']);
      expect(report.old['ndcg@10']).toBeGreaterThan(0.2);
      expect(report.overlap).toBeGreaterThan(0.2);
      expect(await undrift('migrate', 'cutover', '--store', store)).toMatchObject({
        error: { message: expect.stringMatching(/\d+ passages of .* are not embedded/) },
      });

      expect(await undrift('migrate', 'start', '--store', store)).toMatchObject({
        embedded: ROWS - killed.embedded,
        missing: 0,
        stopped: false,
        view: 'notes_current',
      });
      const found = await undrift('search', '--store', store, '--mode', 'dense', '--top-k', '3', texts[9]!);
      expect(found.results[0]).toMatchObject({ rank: 1, corrected: false });
      expect(words(found.results[0].text)).toEqual(words(texts[9]!));
      expect(await undrift('migrate', 'cutover', '--store', store)).toMatchObject({ from, to });
      expect((await client.query('SELECT * FROM notes ORDER BY key')).rows).toEqual(before);

      // Vectors of the table as a file, there and back, and into a store.
      const exported = await undrift('store', 'export', '--store', store, '--to', 'notes.parquet');
      expect(exported).toMatchObject({
        store: shown,
        format: 'parquet',
        rows: ROWS,
        space: to,
        dimension: 48,
      });
      expect(await undrift('store', 'import', '--store', store, '--from', 'notes.parquet')).toMatchObject({
        read: ROWS,
        vectors: ROWS,
        space: to,
      });
      const copy = ['store', 'import', '--store', 'copy', '--from', 'notes.parquet'];
      expect(await undrift(...copy)).toMatchObject({
        error: { message: expect.stringContaining('is not a store') },
      });
      expect(await undrift(...copy, '--model', 'new')).toMatchObject({
        added: ROWS,
        vectors: ROWS,
        space: to,
      });
      const same = await undrift('search', '--store', 'copy', '--mode', 'dense', '--top-k', '3', texts[9]!);
      expect(words(same.results[0].text)).toEqual(words(texts[9]!));
      expect(same.results[0].score).toBeCloseTo(found.results[0].score, 4);
      expect(
        await undrift('store', 'export', '--store', 'copy', '--to', 'out', '--format', 'npy'),
      ).toMatchObject({
        rows: ROWS,
        format: 'npy',
      });

      // New rows are embedded by index; the way back is undone.
      await client.query(`INSERT INTO notes VALUES (1000, 'opens a whole file')`);
      expect(await undrift('index', '--store', store, '--model', 'new')).toMatchObject({
        embedded: 1,
        rows: ROWS + 1,
      });
      await undrift('migrate', 'start', '--store', store, '--to', 'old', ...fit, '--until', '0.5');
      expect(await undrift('migrate', 'rollback', '--store', store)).toMatchObject({ from, to, embedded: 0 });
      expect(await stamps()).toMatchObject({ rows: ROWS + 1, space: to });
    }, 180_000);

    it('refuses what has no meaning for a table', async () => {
      for (const [argv, message] of [
        [['search', '--store', store, 'text'], /not searched by --mode hybrid/],
        [
          ['search', '--store', store, '--mode', 'dense', '--filter', 'a=b', 'text'],
          /--filter has no meaning/,
        ],
        [['index', '--store', store, '--model', 'new', '--data', 'data'], /--data has no meaning/],
        [
          ['migrate', 'start', '--store', store, '--to', 'old', '--refresh-order', 'drift'],
          /--refresh-order drift/,
        ],
        [['migrate', 'plan', '--store', 'none', '--to', 'old', '--from', 'new'], /--from is about tables/],
      ] as const) {
        expect((await undrift(...argv)).error.message).toMatch(message);
      }
    }, 60_000);
  },
);
