import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LazyRefresh } from '../../src/migration/lazy-refresh.ts';
import { startMigration } from '../../src/migration/migrate-store.ts';
import { storeKeeper } from '../../src/migration/row-keeper.ts';
import { saveRetriever } from '../../src/models/folder/model-folder.ts';
import { embeddingSpaceId } from '../../src/models/retriever/embedding-space.ts';
import { indexPassages } from '../../src/store/index-passages.ts';
import { Store } from '../../src/store/store.ts';
import { UndriftError } from '../../src/util/errors.ts';
import { MAIN, runUndrift } from '../run-undrift.ts';
import { smallRetriever } from '../small-models.ts';
import { tempFiles } from '../temp-files.ts';
import { undrift, undriftHere } from './drills.ts';

const compute = { threads: 1 };
const passages = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({
    id: `${prefix}${i}`,
    text: `${prefix} reads file ${i * 7919}`,
  }));
const jsonl = (prefix: string, count: number) =>
  passages(prefix, count)
    .map(({ id, text }) => JSON.stringify({ _id: id, text }))
    .join('\n');

const folder = tempFiles({
  'a.jsonl': jsonl('a', 40),
  'b.jsonl': jsonl('b', 40),
  'c.jsonl': jsonl('c', 40),
  'ids.txt': 'a1\n',
});
const at = (...names: string[]) => join(folder, ...names);
const indexing = (store: string, corpus: string) => [
  ...['index', '--model', 'model', '--corpus', corpus],
  ...['--store', store, '--threads', '1', '--quiet'],
];
const searching = (store: string) => ['search', '--store', store, 'reads a file', '--top-k', '1', '--json'];

/** Runs a command to its end: in this process, or the built one as another user or in another environment. */
async function run(
  words: readonly string[],
  { as = [], env }: { as?: readonly string[]; env?: Record<string, string> } = {},
) {
  if (as.length === 0 && env === undefined) return await runUndrift(words, { cwd: folder });
  const [command, ...rest] = [...as, process.execPath, MAIN, ...words];
  const options = { cwd: folder, env: { ...process.env, ...env }, encoding: 'utf8' } as const;
  const { status, stdout, stderr } = spawnSync(command!, rest, options);
  return { code: status, stdout, stderr };
}

async function counts(store: string): Promise<{ passages: number; vectors: number }> {
  const opened = await Store.open(at(store));
  const { head, passages: table, embeddings } = await opened.snapshot();
  const result = { passages: await table.count(), vectors: await embeddings(head.current!).count() };
  await opened.close();
  return result;
}

beforeAll(async () => {
  await saveRetriever(at('model'), smallRetriever({ kind: 'static' }), { onnx: false });
  expect(await undriftHere(folder, indexing('store', 'a.jsonl'))).toMatchObject({ code: 0 });
});

/** Copies the store under a name. */
function copy(name: string): string {
  cpSync(at('store'), at(name), { recursive: true });
  return at(name);
}

/** File of the store, by its folder and the beginning of its name. */
function fileIn(store: string, table: string, part: string): string {
  const name = readdirSync(store).find((each) => each.startsWith(table))!;
  const files = readdirSync(join(store, name, part)).filter((file) => !file.endsWith('.json'));
  return join(store, name, part, files.sort()[0]!);
}

describe('a damaged store', () => {
  const format = (store: string) => {
    const head = JSON.parse(readFileSync(join(store, 'store.json'), 'utf8'));
    writeFileSync(join(store, 'store.json'), JSON.stringify({ ...head, undriftStore: 99 }));
  };
  const cases: [string, (store: string) => void, RegExp][] = [
    [
      'a truncated head',
      (s) => truncateSync(join(s, 'store.json'), 200),
      /store\.json:\d+: the head.*damaged/,
    ],
    ['an empty head', (s) => truncateSync(join(s, 'store.json'), 0), /store\.json:1: the head.*damaged/],
    ['no head', (s) => rmSync(join(s, 'store.json')), /store\.json: the head of the store is missing/],
    ['a head of a newer version', format, /store\.json: the store has format 99/],
    ['a torn manifest', (s) => truncateSync(fileIn(s, 'passages', '_versions'), 50), /passages\.lance/],
    [
      'a committed manifest that is missing',
      (s) => rmSync(fileIn(s, 'passages', '_versions')),
      /passages\.lance\/_versions\/\d+\.manifest: .*missing/,
    ],
    [
      'no file of passages',
      (s) => rmSync(fileIn(s, 'passages', 'data')),
      /passages\.lance\/data\/\w+\.lance: .*missing/,
    ],
    [
      'no file of vectors',
      (s) => rmSync(fileIn(s, 'vectors', 'data')),
      /vectors-\w+\.lance\/data\/\w+\.lance: .*missing/,
    ],
    [
      'a truncated file of vectors',
      (s) => truncateSync(fileIn(s, 'vectors', 'data'), 100),
      /vectors-\w+\.lance: a file of the table is damaged/,
    ],
    [
      'no index of terms',
      (s) => rmSync(join(s, 'passages.lance', '_indices'), { recursive: true }),
      /passages\.lance\/_indices\/\S+: .*missing/,
    ],
  ];
  it.each(cases)('with %s: search and index name file and remedy', async (name, damage, message) => {
    const store = copy(`damaged ${name}`);
    damage(store);
    for (const words of [searching(store), indexing(store, 'b.jsonl')]) {
      const { code, stderr } = await run(words);
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).toMatch(/^error: .*\n {2}help: [^\n]*(restore|update)[^\n]*\n$/);
    }
  });

  it('without its model: search names the folder, index with the model repairs it', async () => {
    const store = copy('no encoder');
    rmSync(join(store, 'encoders'), { recursive: true });
    expect(await run(searching(store))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/encoders\/\w+: a part/),
    });
    expect(await run(indexing(store, 'b.jsonl'))).toMatchObject({ code: 0 });
    expect(await run(searching(store))).toMatchObject({ code: 0 });
  });
});

describe('a folder', () => {
  it('that does not exist is not made by a search', async () => {
    expect(await run(searching('nowhere'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/is not a store/),
    });
    expect(existsSync(at('nowhere'))).toBe(false);
  });

  it('for temporary files that cannot be written is named, before LanceDB panics', async () => {
    const { code, stderr } = await run(searching('store'), { env: { TMPDIR: at('missing') } });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^error: cannot make temporary files in .*missing: .*\n {2}help: .*TMPDIR\n$/,
      ),
    });
  });

  const isRoot = process.getuid?.() === 0;
  const as = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  const canSwitch =
    process.platform === 'linux' && (!isRoot || spawnSync(as[0]!, [...as.slice(1), 'true']).status === 0);
  it.skipIf(!canSwitch)(
    'that may only be read (skipped without another user): it can be searched',
    async () => {
      const store = copy('read-only');
      for (const entry of readdirSync(store, { withFileTypes: true, recursive: true })) {
        chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o555 : 0o444);
      }
      chmodSync(store, 0o555);
      chmodSync(folder, 0o755);
      const found = await run(searching(store), { as });
      expect(found, found.stderr).toMatchObject({ code: 0 });
      expect(await run(['status', '--store', store], { as })).toMatchObject({ code: 0 });
      const refused = [
        [indexing(store, 'b.jsonl'), store],
        [['index', '--store', store, '--remove', 'ids.txt'], store],
        [indexing(at('new'), 'b.jsonl'), at('new')],
      ] as const;
      for (const [words, path] of refused) {
        const { code, stderr } = await run(words, { as });
        expect(code, stderr).toBe(1);
        expect(stderr).toMatch(new RegExp(`^error: cannot \\w+ ${path}: no permission\n {2}help: `));
      }
      chmodSync(store, 0o755);
    },
  );
});

describe('two processes that index at once', () => {
  it('lose nothing', async () => {
    copy('shared');
    const outcomes = await Promise.all(
      ['b.jsonl', 'c.jsonl'].map((corpus) => undrift(folder, indexing('shared', corpus))),
    );
    expect(outcomes).toMatchObject([{ code: 0 }, { code: 0 }]);
    expect(await counts('shared')).toEqual({ passages: 120, vectors: 120 });
  });
});

describe('a full disk', () => {
  mkdirSync(at('disk'));
  const size = (megabytes: number) => `size=${megabytes}m`;
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', size(8), 'tmpfs', at('disk')]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [at('disk')]);
  });
  const retriever = smallRetriever({ kind: 'static' });
  const next = smallRetriever({ kind: 'static', seed: 7 });

  /** Works with so many bytes left on the disk. Returns whether that was enough. */
  async function worksWith(bytes: number, work: (store: Store) => Promise<unknown>): Promise<boolean> {
    const store = await Store.open(at('disk', 'store'));
    const { bavail, bsize } = statfsSync(at('disk'));
    writeFileSync(at('disk', 'filler'), new Uint8Array(Math.max(0, bavail * bsize - bytes)));
    try {
      await work(store);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(UndriftError);
      expect((error as Error).message).toMatch(
        /^cannot \w+ \S*disk\S*: no space left on the disk\n {2}help: free/,
      );
      return false;
    } finally {
      rmSync(at('disk', 'filler'));
      await store.close();
    }
  }

  it.skipIf(!mounted)(
    '(skipped where mounting is not permitted) names itself, and loses no commit',
    async () => {
      cpSync(at('store'), at('disk', 'store'), { recursive: true });
      let expected = 40;
      const works: [string, (store: Store, round: number) => Promise<unknown>, number][] = [
        ['index', (store, round) => indexPassages(store, retriever, passages(`x${round}-`, 40), compute), 40],
        ['compact', (store) => store.optimize(), 0],
        [
          'migrate',
          (store) => startMigration(store, next, { sample: 40, correctors: ['ridge'], ...compute }),
          0,
        ],
        [
          'refresh',
          (store) => new LazyRefresh(storeKeeper(store, next, embeddingSpaceId(next), compute)).run(),
          0,
        ],
      ];
      for (const [name, work, added] of works) {
        const outcomes: boolean[] = [];
        for (const [round, kilobytes] of [0, 8, 32, 64, 128, 4000].entries()) {
          if (outcomes.at(-1) && added === 0) break;
          const did = await worksWith(kilobytes * 1024, (store) => work(store, round));
          outcomes.push(did);
          const { passages: rows } = await counts('disk/store');
          // A commit may be whole although what follows it, as its compaction, fails.
          expect([expected, expected + added], name).toContain(rows);
          if (did) expect(rows).toBe(expected + added);
          expected = rows;
        }
        expect(outcomes[0], name).toBe(false);
        expect(outcomes.at(-1), name).toBe(true);
      }
      const store = await Store.open(at('disk', 'store'));
      expect(store.head.current).toBe(embeddingSpaceId(next));
      await store.close();
      expect(await counts('disk/store')).toEqual({ passages: expected, vectors: expected });
    },
  );
});
