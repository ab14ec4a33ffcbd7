import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { COMMIT, type FakeHub, fakeHub } from '../../test/fake-hub.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { parseHubName } from './hub-name.ts';
import { hubSnapshot } from './snapshot.ts';

const WEIGHTS = Buffer.alloc(300_000, 'weights');
let hub: FakeHub;

beforeEach(async () => {
  hub = await fakeHub({ 'models/org/name': { files: { 'config.json': '{}', 'model.bin': WEIGHTS } } });
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', tempFiles());
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.4');
  vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '10');
  return () => vi.unstubAllEnvs();
});

const get = (onProgress?: () => void) =>
  hubSnapshot(parseHubName('org/name', 'model')!, {
    wanted: (paths) => paths,
    isComplete: () => false,
    onProgress,
  });

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** Lets requests whose path holds `part` be answered in another way: the first `times` of them. */
function answer(part: string, how: Answer, times = Number.POSITIVE_INFINITY): void {
  let left = times;
  hub.intercept = (request, response, path) => {
    if (!path.includes(part) || left-- <= 0) return false;
    how(response, request);
    return true;
  };
}

const stall: Answer = (response) => {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.write('[');
};
const trickle: Answer = (response) => {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  const timer = setInterval(() => response.write(' '), 20);
  response.on('close', () => clearInterval(timer));
};
const isRange = (request: IncomingMessage) => request.headers.range === 'bytes=0-0';
/** Answers the request for the size of the file, and stalls or trickles in its content. */
const inFile =
  (how: (response: ServerResponse) => void): Answer =>
  (response, request) => {
    if (isRange(request)) {
      response.writeHead(206, { ETag: '"x"', 'Content-Range': `bytes 0-0/${WEIGHTS.length}` }).end('w');
      return;
    }
    const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, { 'Content-Length': WEIGHTS.length - start });
    how(response);
  };

test.each([
  ['no answer', '/revision/', () => {}, /cannot be reached \(no answer in 0\.4 s\)/],
  ['a listing that stalls', '/tree/', stall, /the hub’s answer broke off: nothing arrived for 0\.4 s/],
  [
    'a listing that trickles',
    '/tree/',
    trickle,
    /broke off: fewer than 1000 bytes a second arrived for 0\.8 s/,
  ],
  ['a page that stalls', '/revision/', stall, /broke off: nothing arrived/],
] satisfies [string, string, Answer, RegExp][])('%s ends', async (_, part, how, message) => {
  vi.stubEnv('HF_HUB_ETAG_TIMEOUT', part === '/revision/' ? '0.4' : '10');
  answer(part, how);
  const start = performance.now();
  await expect(get()).rejects.toThrow(message);
  expect(performance.now() - start).toBeLessThan(5000);
});

test.each([
  ['stalls', (response: ServerResponse) => void response.write(WEIGHTS.subarray(0, 50_000))],
  [
    'trickles',
    (response: ServerResponse) => {
      const timer = setInterval(() => response.write('w'), 20);
      response.on('close', () => clearInterval(timer));
    },
  ],
])('a file that %s ends after three tries, and is resumed by the next call', async (_, how) => {
  answer('/model.bin', inFile(how));
  await expect(get()).rejects.toThrow(/model\.bin: the download broke off after \d+ of 300000 bytes \(/);
  const wholes = hub.requests.filter((line) => line.includes('model.bin') && !line.endsWith('bytes=0-0'));
  expect(wholes).toHaveLength(3);
  hub.intercept = undefined;
  expect((await get()).commit).toBe(COMMIT);
});

test('a listing without an end ends', async () => {
  const page =
    (next: () => string): Answer =>
    (response) => {
      response.writeHead(200, { Link: `<${next()}>; rel="next"`, 'Content-Type': 'application/json' });
      response.end('[]');
    };
  answer(
    '/tree/',
    page(() => `${hub.url}/api/models/org/name/tree/${COMMIT}?cursor=a`),
  );
  await expect(get()).rejects.toThrow(/list of the files of the model org\/name does not end/);
  let number = 0;
  answer(
    '/tree/',
    page(() => `${hub.url}/api/models/org/name/tree/${COMMIT}?cursor=${number++}`),
  );
  await expect(get()).rejects.toThrow(/does not end/);
}, 20_000);

test('an answer of 17 MiB is refused before it is parsed', async () => {
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '10');
  answer('/tree/', (response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(`[${' '.repeat(17 * 2 ** 20)}]`);
  });
  await expect(get()).rejects.toThrow(/the hub’s answer is larger than 16 MiB/);
});

test.each([
  [503, '/tree/', {}],
  [429, '/revision/', {}],
  [500, '/model.bin', {}],
  [429, '/tree/', { 'Retry-After': '1' }],
  [429, '/tree/', { RateLimit: '"api";r=0;t=1' }],
  [503, '/config.json', { 'Retry-After': new Date(Date.now() + 1000).toUTCString() }],
] as const)('one answer of %i to %s (%o) is no error', async (status, part, headers) => {
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '2');
  answer(part, (response) => response.writeHead(status, headers).end(), 1);
  const start = performance.now();
  const { folder } = await get();
  expect(readFileSync(join(folder, 'model.bin')).equals(WEIGHTS)).toBe(true);
  if ('RateLimit' in headers || (status === 429 && 'Retry-After' in headers))
    expect(performance.now() - start).toBeGreaterThan(950);
});

test('a connection that is lost once is no error', async () => {
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '2');
  answer('/tree/', (response) => response.destroy(), 1);
  expect((await get()).commit).toBe(COMMIT);
});

test('a server that stays in trouble, or asks for a long pause, is an error', async () => {
  answer('/tree/', (response) => response.writeHead(503).end());
  await expect(get()).rejects.toThrow(/the hub is in trouble: it answered 503/);
  expect(hub.requests.filter((line) => line.includes('/tree/'))).toHaveLength(4);
  answer('/tree/', (response) => response.writeHead(429, { 'Retry-After': '3600' }).end());
  await expect(get()).rejects.toThrow(
    /answered 429 and asks for a pause of 3600 s[\s\S]*run the command again/,
  );
});

test.each([
  ['the answer', '/revision/', () => {}],
  ['the listing', '/tree/', stall],
  ['the size of a file', '/config.json', () => {}],
  ['the content of a file', '/model.bin', inFile(() => {})],
  ['a pause', '/tree/', (response: ServerResponse) => response.writeHead(429, { 'Retry-After': '20' }).end()],
] satisfies [string, string, Answer][])(
  'an error of onProgress ends the wait for %s',
  async (_, part, how) => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '30');
    vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '30');
    answer(part, how);
    const stopped = new Error('stopped by the user');
    let waits = false;
    const start = performance.now();
    const work = get(() => {
      if (waits) throw stopped;
    });
    setTimeout(() => (waits = true), 150);
    await expect(work).rejects.toBe(stopped);
    expect(performance.now() - start).toBeLessThan(3000);
  },
);

test('HF_HUB_DOWNLOAD_TIMEOUT has to be a time', async () => {
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', 'soon');
  await expect(get()).rejects.toThrow(/HF_HUB_DOWNLOAD_TIMEOUT is "soon", expected seconds above 0/);
});
