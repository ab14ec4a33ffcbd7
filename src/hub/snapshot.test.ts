import { execFile } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { COMMIT, FAKE_TOKEN, type FakeHub, fakeHub } from '../../test/fake-hub.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { builtScript } from '../util/built-script.ts';
import { linkBlob } from './fetch-blob.ts';
import { parseHubName } from './hub-name.ts';
import { hubSnapshot, type SnapshotOptions } from './snapshot.ts';

const WEIGHTS = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3));
const FILES = { 'config.json': '{}', 'a/b.txt': 'text', 'model.bin': WEIGHTS, 'empty.txt': '' };
const OTHER_COMMIT = '1234567890'.repeat(4);

let hub: FakeHub;
let cache: string;

beforeEach(async () => {
  hub = await fakeHub({
    'models/org/name': { files: { ...FILES }, refs: { main: COMMIT, 'refs/pr/1': OTHER_COMMIT } },
    'models/org/gated': { files: FILES, gated: true },
  });
  cache = tempFiles();
  vi.stubEnv('HF_ENDPOINT', `${hub.url}/`);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
});
afterEach(() => vi.unstubAllEnvs());

const everything: SnapshotOptions = {
  wanted: (paths) => paths,
  isComplete: (folder) => readdirSync(folder).includes('model.bin'),
};
const get = (name: string, options: Partial<SnapshotOptions> = {}) =>
  hubSnapshot(parseHubName(name, 'model')!, { ...everything, ...options });
const storage = () => join(cache, 'models--org--name');
/** Names of the partial files in the cache. */
const parts = () => readdirSync(join(storage(), 'blobs')).filter((name) => name.endsWith('.incomplete'));

test('downloads the selected files, in the layout of the usual cache', async () => {
  const progress: number[] = [];
  const { folder, commit } = await get('org/name', {
    wanted: (paths) => paths.filter((path) => path !== 'config.json'),
    onProgress: ({ done, total }) => progress.push(done / total!),
  });
  expect(commit).toBe(COMMIT);
  expect(folder).toBe(join(storage(), 'snapshots', COMMIT));
  expect(readdirSync(folder).sort()).toEqual(['a', 'empty.txt', 'model.bin']);
  expect(readFileSync(join(folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
  expect(readFileSync(join(folder, 'a/b.txt'), 'utf8')).toBe('text');
  expect(lstatSync(join(folder, 'a/b.txt')).isSymbolicLink()).toBe(true);
  expect(readFileSync(join(storage(), 'refs/main'), 'utf8')).toBe(COMMIT);
  // git's SHA-1 of the empty file and of "text", and a SHA-256.
  const names = readdirSync(join(storage(), 'blobs'));
  expect(names).toContain('e69de29bb2d1d6434b8b29ae775ad8c2e48c5391');
  expect(names.map(({ length }) => length).sort()).toEqual([40, 40, 64]);
  expect(parts()).toEqual([]);
  expect(progress.at(-1)).toBe(1);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));

  const before = hub.requests.length;
  await get('org/name', { wanted: (paths) => paths.filter((path) => path !== 'config.json') });
  // The branch is looked up again, but no file is downloaded again.
  expect(hub.requests.slice(before).map((line) => line.split('/')[5])).toEqual(['revision', 'tree']);
});

test('a given commit needs only the list of files; without a network all comes from the cache', async () => {
  const { folder } = await get('org/name@refs/pr/1');
  expect(folder).toContain(OTHER_COMMIT);
  expect(readFileSync(join(storage(), 'refs/refs/pr/1'), 'utf8')).toBe(OTHER_COMMIT);
  const before = hub.requests.length;
  rmSync(join(folder, 'config.json'));
  expect((await get(`org/name@${OTHER_COMMIT}`)).folder).toBe(folder);
  expect(hub.requests.slice(before).map((line) => line.split('/')[5])).toEqual(['tree']);
  expect(readdirSync(folder)).toContain('config.json');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect((await get('org/name@refs/pr/1')).folder).toBe(folder);
  expect(hub.requests).toHaveLength(before + 1);
  await expect(get('org/name')).rejects.toThrow(
    /org\/name \(main\) is not.* in the cache, and HF_HUB_OFFLINE/,
  );

  vi.stubEnv('HF_HUB_OFFLINE', '');
  await hub.close();
  const notes: string[] = [];
  expect((await get('org/name@refs/pr/1', { onNote: (note) => notes.push(note) })).folder).toBe(folder);
  expect(notes).toEqual([expect.stringMatching(/cannot be reached \(ECONNREFUSED\).*taken from the cache/)]);
  await expect(get('org/name')).rejects.toThrow(
    /ECONNREFUSED[\s\S]*give its folder \(--model path\/to\/folder\)/,
  );
});

test('an interrupted download is resumed, within the call and by the next call', async () => {
  hub.breakAfterBytes = 100_000;
  const { folder } = await get('org/name');
  expect(readFileSync(join(folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
  const ranges = hub.requests.filter((line) => line.includes('model.bin bytes=') && !line.endsWith('=0-0'));
  expect(ranges.length).toBeGreaterThanOrEqual(2);
  expect(parts()).toEqual([]);

  cache = tempFiles();
  vi.stubEnv('HF_HUB_CACHE', cache);
  const stop = new Error('stopped by the user');
  const interrupted = get('org/name', {
    onProgress: ({ done }) => {
      if (done > 90_000) throw stop;
    },
  });
  await expect(interrupted).rejects.toBe(stop);
  expect(parts()).toHaveLength(1);
  expect(readdirSync(join(storage(), 'snapshots', COMMIT))).not.toContain('model.bin');
  expect(readdirSync(storage())).not.toContain('refs');
  hub.breakAfterBytes = Number.POSITIVE_INFINITY;
  hub.requests.length = 0;
  const again = await get('org/name');
  expect(readFileSync(join(again.folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
  expect(hub.requests.some((line) => /model\.bin bytes=[1-9]/.test(line))).toBe(true);
  expect(parts()).toEqual([]);
});

test('a server that sends nothing more: an error that says how far it came', async () => {
  hub.damage = (content) => (content.length > 1000 ? content.subarray(0, 200_000) : content);
  await expect(get('org/name')).rejects.toThrow(/model\.bin: .*broke off after 200000 of 300000/);
  expect(readdirSync(join(storage(), 'snapshots', COMMIT))).not.toContain('model.bin');
});

test('a file that differs from the listing of the hub is thrown away', async () => {
  hub.damage = (content) => {
    if (content.length > 1000) content[5]! ^= 1;
    return content;
  };
  await expect(get('org/name')).rejects.toThrow(/model\.bin: what arrived has the digest .* try again/s);
  expect(readdirSync(join(storage(), 'blobs'))).toHaveLength(3);
  // The partial file of a damaged download is not used.
  hub.damage = (content) => content;
  const { folder } = await get('org/name');
  const blob = readdirSync(join(storage(), 'blobs')).find((name) => name.length === 64)!;
  expect(folder).toContain(COMMIT);
  cache = tempFiles({ [`models--org--name/blobs/${blob}.incomplete`]: 'something else' });
  vi.stubEnv('HF_HUB_CACHE', cache);
  expect(readFileSync(join((await get('org/name')).folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
});

test.each([
  ['org/none', '', /hub has no model org\/none, or not for you[\s\S]*HF_TOKEN/],
  ['org/none', FAKE_TOKEN, /hub has no model org\/none[\s\S]*the token in HF_TOKEN may be wrong/],
  ['org/name@v9', '', /org\/name has no revision "v9"/],
  ['org/gated', '', /keeps the model org\/gated behind an agreement[\s\S]*HF_TOKEN=hf_/],
  ['org/name', 'hf_ü', /the token in HF_TOKEN holds characters/],
])('%s with token "%s"', async (name, token, message) => {
  vi.stubEnv('HF_TOKEN', token);
  await expect(get(name)).rejects.toThrow(message);
  expect(readdirSync(cache)).toEqual([]);
});

test('a token opens a gated model, and is not sent to the server of a redirect', async () => {
  const cdn = await fakeHub({});
  cdn.others['/model.bin'] = WEIGHTS;
  hub.cdn = cdn.url;
  vi.stubEnv('HF_TOKEN', FAKE_TOKEN);
  const { folder } = await get('org/gated');
  expect(readFileSync(join(folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
  expect(hub.requests.every((line) => line.endsWith(`Bearer ${FAKE_TOKEN}`))).toBe(true);
  expect(cdn.requests.length).toBeGreaterThan(0);
  expect(cdn.requests.filter((line) => line.includes('Bearer'))).toEqual([]);
});

test.each(['../../evil', 'a/../../evil', '/etc/evil', 'a\\..\\evil', 'C:evil', ''])(
  'a listed path that leaves the folder is refused: %s',
  async (path) => {
    hub.repos['models/org/name']!.files = { [path]: 'x' };
    await expect(get('org/name')).rejects.toThrow(/cannot be stored/);
    expect(readdirSync(cache)).toEqual([]);
  },
);

test('a file that is in the cache but cut short is fetched again', async () => {
  const { folder } = await get('org/name');
  writeFileSync(join(folder, 'model.bin'), 'short');
  const again = await get('org/name');
  expect(readFileSync(join(again.folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
});

test('files that another program has put into the cache are found', async () => {
  cache = tempFiles({
    'models--org--name/blobs/abc': 'weights',
    'models--org--name/refs/main': OTHER_COMMIT,
    [`models--org--name/snapshots/${OTHER_COMMIT}/config.json`]: '{}',
  });
  const folder = join(cache, 'models--org--name/snapshots', OTHER_COMMIT);
  symlinkSync('../../blobs/abc', join(folder, 'model.bin'));
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_HUB_OFFLINE', 'true');
  expect((await get('org/name')).folder).toBe(folder);
});

test('of four processes at once, one downloads a file', async () => {
  const script = join(tempFiles(), 'get.mjs');
  writeFileSync(
    script,
    `import { hubSnapshot } from ${JSON.stringify(builtScript('hub/snapshot'))};
     const name = { kind: 'model', repo: 'org/name', revision: 'main', folder: '' };
     const { folder } = await hubSnapshot(name, { wanted: (p) => p, isComplete: () => false });
     console.log(folder);`,
  );
  const run = promisify(execFile);
  const found = await Promise.all([1, 2, 3, 4].map(() => run(process.execPath, [script])));
  const wholes = hub.requests.filter((line) => line.includes('model.bin') && !line.endsWith('=0-0'));
  expect(wholes).toHaveLength(1);
  expect(found.map(({ stdout }) => stdout.trim())).toEqual(
    Array(4).fill(join(storage(), 'snapshots', COMMIT)),
  );
  expect(readFileSync(join(storage(), 'snapshots', COMMIT, 'model.bin')).equals(WEIGHTS)).toBe(true);
  expect(parts()).toEqual([]);
}, 60_000);

test('a file that is linked again is there at every moment', async () => {
  const folder = tempFiles({ blob: 'content' });
  const path = join(folder, 'snapshot/file');
  await linkBlob(join(folder, 'blob'), path);
  let reads = 0;
  const timer = setInterval(() => {
    expect(readFileSync(path, 'utf8')).toBe('content');
    reads++;
  }, 0);
  for (let i = 0; i < 200; i++) await linkBlob(join(folder, 'blob'), path);
  clearInterval(timer);
  expect(reads).toBeGreaterThan(5);
  expect(readdirSync(join(folder, 'snapshot'))).toEqual(['file']);
});

test.each([
  ['org/name', { repo: 'org/name', revision: 'main' }],
  ['hf:gpt2', { repo: 'gpt2', revision: 'main' }],
  ['hf:org/name@v1.0', { repo: 'org/name', revision: 'v1.0' }],
  ['org/name@refs/pr/1', { repo: 'org/name', revision: 'refs/pr/1' }],
])('%s is a name', (text, expected) => {
  expect(parseHubName(text, 'model')).toMatchObject(expected);
});

test.each([
  'gpt2',
  './org/name',
  '../name',
  '/org/name',
  'org/name/',
  'a/b/c',
  'org/na me',
  'org/name@../x',
  '',
])('%s is none', (text) => {
  expect(parseHubName(text, 'model')).toBeUndefined();
  if (text !== 'gpt2') expect(() => parseHubName(`hf:${text}`, 'model')).toThrow(/is no name on the hub/);
});

test('a data set has folders', () => {
  expect(parseHubName('hf:org/name/a/b@v1', 'dataset')).toEqual({
    kind: 'dataset',
    repo: 'org/name',
    folder: 'a/b',
    revision: 'v1',
  });
  expect(() => parseHubName('hf:org/name/../b', 'dataset')).toThrow();
});
