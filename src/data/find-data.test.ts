import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { COMMIT, FAKE_TOKEN, type FakeHub, fakeHub } from '../../test/fake-hub.ts';
import { makeZip } from '../../test/make-zip.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { builtScript } from '../util/built-script.ts';
import { DataError } from '../util/errors.ts';
import { loadCorpus } from './documents.ts';
import { loadData } from './load.ts';
import { loadTexts } from './texts.ts';
import { unzip } from './unzip.ts';

const BEIR = {
  'corpus.jsonl': '{"_id":"d1","title":"T","text":"one"}\n{"_id":"d2","text":"two"}\n',
  'queries.jsonl': '{"_id":"q1","text":"which"}\n',
  'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\td2\t1\n',
};
const inFolder = (name: string, files: Record<string, string>) =>
  Object.fromEntries(Object.entries(files).map(([path, content]) => [`${name}/${path}`, content]));

let hub: FakeHub;
let cache: string;

beforeEach(async () => {
  hub = await fakeHub({
    'datasets/org/beir': {
      files: { ...BEIR, 'README.md': '#', 'script.py': 'x', 'big.bin': 'x'.repeat(5000) },
    },
    'datasets/org/parts': {
      files: {
        'pairs/train-00000-of-00002.jsonl': '{"query":"a","positive":"b"}\n',
        'pairs/train-00001-of-00002.jsonl': '{"query":"c","positive":"d"}\n',
        'pairs/test.jsonl': '{"query":"e","positive":"f"}\n',
        'other/train.jsonl': '{"query":"a","positive":"b"}\n',
      },
    },
    'datasets/org/gated': { files: BEIR, gated: true },
  });
  hub.others['/beir/scifact.zip'] = makeZip({ ...inFolder('scifact', BEIR), 'scifact/notes.md': 'x' });
  hub.others['/beir/cqadupstack.zip'] = makeZip({
    ...inFolder('cqadupstack/android', BEIR),
    ...inFolder('cqadupstack/tex', BEIR),
  });
  cache = tempFiles();
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', join(cache, 'hub'));
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('UNDRIFT_CACHE', join(cache, 'undrift'));
  vi.stubEnv('UNDRIFT_BEIR_URL', `${hub.url}/beir/`);
});
afterEach(() => vi.unstubAllEnvs());

const left = () => {
  const folder = join(cache, 'undrift', 'beir');
  return existsSync(folder) ? readdirSync(folder) : [];
};

describe('data sets of BEIR', () => {
  test('are downloaded once, and read by name', async () => {
    const progress: number[] = [];
    const data = await loadData('beir/scifact', {
      onProgress: ({ done, total }) => progress.push(done / total!),
    });
    expect(data).toMatchObject({ name: 'scifact', splits: ['test'] });
    expect(data.corpus.text(0)).toBe('T one');
    expect(data.qrels('test').get('q1')).toEqual(new Map([['d2', 1]]));
    expect(progress.at(-1)).toBe(1);
    expect(left()).toEqual(['scifact']);
    expect(readdirSync(join(cache, 'undrift', 'beir', 'scifact'))).not.toContain('notes.md');
    const { length } = hub.requests;
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await loadTexts('beir/scifact')).name).toBe('scifact');
    expect((await loadCorpus('beir/scifact')).size).toBe(2);
    expect(hub.requests).toHaveLength(length);
    await expect(loadData('beir/nfcorpus')).rejects.toThrow(
      /not in the cache, and HF_HUB_OFFLINE.*\n.*data: 'path\/to/,
    );
  });

  const inCache = (name: string) => join(cache, 'undrift', 'beir', 'scifact', name);

  test('a folder that lacks a file, or has a shorter one, is replaced', async () => {
    const { fingerprint } = await loadData('beir/scifact');
    const spoil = [
      () => truncateSync(inCache('corpus.jsonl'), 10),
      () => rmSync(inCache('qrels/test.tsv')),
      () => rmSync(inCache('.contents.json')), // as of a version that did not list the contents
      () => writeFileSync(inCache('.contents.json'), '{"corpus'),
    ];
    for (const each of spoil) {
      each();
      expect((await loadData('beir/scifact')).fingerprint).toBe(fingerprint);
    }
    expect(hub.requests).toHaveLength(1 + spoil.length);
  });

  test('without a network, a folder of an earlier version is used with a note', async () => {
    await loadData('beir/scifact');
    rmSync(inCache('.contents.json'));
    await hub.close();
    const notes: string[] = [];
    const { corpus } = await loadData('beir/scifact', { onNote: (note) => notes.push(note) });
    expect(corpus.size).toBe(2);
    expect(notes).toEqual([
      expect.stringMatching(/taken from the cache as it is, though it may not be whole: .*ECONNREFUSED/),
    ]);
  });

  test('four processes at once: one downloads, the others wait', async () => {
    const script = join(tempFiles(), 'load.mjs');
    writeFileSync(
      script,
      `import { loadData } from ${JSON.stringify(builtScript('data/load'))};
       console.log((await loadData('beir/scifact')).fingerprint);`,
    );
    hub.delayMs = 1000;
    const found = await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, [script])));
    expect(new Set(found.map(({ stdout }) => stdout)).size).toBe(1);
    expect(hub.requests).toHaveLength(1);
    expect(left()).toEqual(['scifact']);
  }, 60_000);

  test('have parts', async () => {
    expect((await loadData('beir/cqadupstack/android')).name).toBe('android');
    await expect(loadData('beir/cqadupstack/none')).rejects.toThrow(/no part "none"/);
  });

  test('a folder of that name goes first', async () => {
    const folder = tempFiles(
      inFolder('beir/scifact', { ...BEIR, 'corpus.jsonl': '{"_id":"d2","text":"mine"}\n' }),
    );
    const before = process.cwd();
    process.chdir(folder);
    try {
      expect((await loadData('beir/scifact')).corpus.text(0)).toBe('mine');
    } finally {
      process.chdir(before);
    }
    expect(hub.requests).toEqual([]);
  });

  test.each([
    ['no such name', 'beir/none', () => {}, /there is no data set beir\/none/],
    ['broken off', 'beir/scifact', () => (hub.breakAfterBytes = 50), /broke off after 50 of \d+ bytes/],
    [
      'cut short on the server',
      'beir/scifact',
      () => (hub.others['/beir/scifact.zip'] = hub.others['/beir/scifact.zip']!.subarray(0, 300)),
      /zip archive is damaged or cut short/,
    ],
    [
      'something else',
      'beir/scifact',
      () => (hub.others['/beir/scifact.zip'] = makeZip({ 'a.txt': 'x' })),
      /holds no corpus\.jsonl/,
    ],
    [
      'no network',
      'beir/scifact',
      () => hub.close(),
      /not in the cache, and .*ECONNREFUSED[\s\S]*data: 'path\/to\/scifact'/,
    ],
  ])('%s: an error, and nothing left', async (_title, name, spoil, message) => {
    await spoil();
    await expect(loadData(name)).rejects.toThrow(message);
    expect(left()).toEqual([]);
  });
});

describe('data sets of the hub', () => {
  test('BEIR files in a repository', async () => {
    const data = await loadData('hf:org/beir');
    expect(data).toMatchObject({ name: 'beir', splits: ['test'] });
    const snapshot = join(cache, 'hub/datasets--org--beir/snapshots', COMMIT);
    expect(readdirSync(snapshot).sort()).toEqual(['corpus.jsonl', 'qrels', 'queries.jsonl']);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await loadData(`hf:org/beir@${COMMIT}`)).fingerprint).toBe(data.fingerprint);
  });

  test('a folder of a repository; one has to be named', async () => {
    await expect(loadData('hf:org/parts')).rejects.toThrow(
      /org\/parts: the repository has no data that we read\n.*hf:org\/parts\/pairs, hf:org\/parts\/other/,
    );
    const data = await loadData('hf:org/parts/pairs');
    expect(data.queries.size).toBe(3);
    expect(existsSync(join(cache, 'hub/datasets--org--parts/snapshots', COMMIT, 'other'))).toBe(false);
  });

  test('offline, a table with a missing part is not accepted as complete', async () => {
    const snapshot = join(cache, 'hub/datasets--org--parts/snapshots', COMMIT, 'pairs');
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(snapshot, 'train-00000-of-00002.jsonl'), '{"query":"a","positive":"b"}\n');
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(loadData(`hf:org/parts/pairs@${COMMIT}`)).rejects.toThrow(/not whole, in the cache/);
  });

  test('errors', async () => {
    await expect(loadData('hf:org/none')).rejects.toThrow(/hub has no data set org\/none/);
    await expect(loadData('hf:org/gated')).rejects.toThrow(/behind an agreement/);
    await expect(loadData('hf:org/beir@v2')).rejects.toThrow(/no revision "v2"/);
    await expect(loadData('hf:a b')).rejects.toThrow(/"hf:a b" is no name on the hub/);
    vi.stubEnv('HF_TOKEN', FAKE_TOKEN);
    expect((await loadData('hf:org/gated')).corpus.size).toBe(2);
  });
});

describe('zip archives', () => {
  const inside = (name: string) => name;
  const unpack = (archive: Uint8Array) => {
    const folder = tempFiles({ 'a.zip': archive });
    return { folder, work: unzip(join(folder, 'a.zip'), join(folder, 'out'), inside) };
  };

  test('are unpacked', async () => {
    const text = 'word '.repeat(50);
    const { folder, work } = unpack(makeZip({ 'a/b.txt': text, 'c.txt': '' }));
    expect(await work).toEqual(['a/b.txt', 'c.txt']);
    expect(readFileSync(join(folder, 'out/a/b.txt'), 'utf8')).toBe(text);
  });

  test.each(['../evil.txt', 'a/../../evil.txt', '/tmp/evil.txt', '..\\evil.txt', 'C:/evil.txt'])(
    'an entry outside the folder: %s',
    async (name) => {
      const { folder, work } = unpack(makeZip({ 'good.txt': 'x', [name]: 'x' }));
      await expect(work).rejects.toThrow(DataError);
      expect(readdirSync(folder)).toEqual(['a.zip']);
    },
  );

  test('bombs', async () => {
    const { folder, work } = unpack(makeZip({ 'a.txt': Buffer.alloc(1e6) }));
    await expect(work).rejects.toThrow(/would grow to 1000000/);
    expect(readdirSync(folder)).toEqual(['a.zip']);
    // An archive that claims to be small.
    const liar = unpack(makeZip({ 'a.txt': Buffer.alloc(1e6) }, { claim: () => 1000 }));
    await expect(liar.work).rejects.toThrow(/damaged or cut short.*bytes/);
  });

  test('one name twice', async () => {
    const twice = makeZip({ 'a.txt': 'one', 'b.txt': 'two' }).toString('latin1').replaceAll('b.txt', 'a.txt');
    const { folder, work } = unpack(Buffer.from(twice, 'latin1'));
    await expect(work).rejects.toThrow(/a\.zip: the archive has two entries a\.txt/);
    expect(readdirSync(folder)).toEqual(['a.zip']);
  });

  test('damage of any kind', async () => {
    const archive = makeZip({ 'a.txt': 'some text of some length', 'b.txt': 'more of the same text' });
    let refused = 0;
    for (let size = 0; size < archive.length; size += 7) {
      await expect(unpack(archive.subarray(0, size)).work).rejects.toThrow(DataError);
    }
    for (let at = 0; at < archive.length; at += 3) {
      const bad = Buffer.from(archive);
      bad[at]! ^= 0x11;
      await unpack(bad).work.catch((error) => {
        if (!(error instanceof DataError)) throw new Error(`byte ${at}`, { cause: error });
        refused++;
      });
    }
    expect(refused).toBeGreaterThan(20);
    await expect(unpack(makeZip({ 'a.txt': 'x' }, { flags: 0x801 })).work).rejects.toThrow(/encrypted/);
  });
});
