import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../temp-files.ts';
import { burst, type DrilledServer, makeStore, raw, startServer } from './http-drill.ts';

const IS_WHOLE = process.env.MODE === 'whole';
const MAX_BODY = 1 << 20;
let server: DrilledServer;

beforeAll(async () => {
  const folder = join(tempFiles(), 'store');
  await makeStore(folder);
  server = await startServer(folder, { maxBodyBytes: MAX_BODY, maxConcurrent: 64, requestMs: 1500 });
}, 120_000);
afterAll(async () => {
  expect(await server?.close()).toBe(0);
}, 60_000);

async function send(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  path = '/search',
) {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  const { error, results } = (await response.json()) as {
    error?: { message: string };
    results?: unknown[];
  };
  return { status: response.status, message: error?.message ?? '', results };
}

/** Checks that the server still answers, and that nothing of earlier requests is left. */
async function isWell(): Promise<void> {
  expect((await send('{"query":"reads a file","topK":3}')).results).toHaveLength(3);
  for (const name of [
    'undrift_requests_running',
    'undrift_search_queue',
    'undrift_embed_queue',
    'undrift_change_queue',
    'undrift_reader_calls',
  ]) {
    // The request for the metrics is one itself.
    const expected = name === 'undrift_requests_running' ? 1 : 0;
    await expect.poll(() => server.metric(name), { timeout: 20_000 }).toBe(expected);
  }
}

const head = (method: string, target: string, ...lines: string[]) =>
  `${[`${method} ${target} HTTP/1.1`, 'Host: localhost', ...lines].join('\r\n')}\r\n\r\n`;
const JSON_TYPE = 'Content-Type: application/json';
const statusOf = (text: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);

describe('a server under misuse', () => {
  it.each([
    ['two keys of one name', 400, '{"query":"a","query":"b"}', /key "query" twice/],
    ['two keys of one name, deep', 400, '{"query":"a","x":[{"\\u0061":1,"a":2}]}', /key "a" twice/],
    ['deep JSON', 400, `{"query":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /nested more than/],
    ['a truncated body', 400, '{"query": "a', /not valid JSON/],
    ['bytes that are not UTF-8', 400, Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), /not valid JSON/],
    ['a zero byte', 400, '{"query":"a\0"}', /not valid JSON/],
    ['nothing', 400, '', /not valid JSON/],
    ['many conditions', 400, JSON.stringify({ query: 'a', filter: Array(5000).fill('n=1') }), /at most 64/],
    [
      'a long condition without a sign',
      400,
      JSON.stringify({ query: 'a', filter: [`a${' '.repeat(900_000)}b`] }),
      /not a condition/,
    ],
    [
      'a long name of a field',
      400,
      JSON.stringify({ query: 'a', [`x${'y'.repeat(900_000)}`]: 1 }),
      /unknown/,
    ],
  ])('refuses %s', async (_, status, body, message) => {
    const found = await send(body);
    expect([found.status, found.message]).toEqual([status, expect.stringMatching(message)]);
  });

  it.each(['n', 'constructor', 'a.b.c', 'a"b', "a'b", '$', '漢'])(
    'takes the field %s in a filter',
    async (field) => {
      const { status } = await send(JSON.stringify({ query: 'bytes', filter: [`${field}=1`] }));
      expect(status).toBe(200);
    },
  );

  it('answers long queries', async () => {
    const words = Array.from({ length: 60_000 }, (_, i) => `w${i}`).join(' ');
    for (const mode of ['dense', 'bm25', 'hybrid']) {
      const { status, message } = await send(JSON.stringify({ query: words, mode }));
      expect([status, message]).toEqual([200, '']);
    }
  }, 60_000);

  it('refuses bodies that are too large, whether they say so or not', async () => {
    const before = await server.memory();
    const large = 'x'.repeat(10 << 20);
    for (let i = 0; i < 5; i++) {
      const found = await send(JSON.stringify({ query: large })).catch(() => undefined);
      // The connection may end before the client has read the answer.
      if (found) expect([found.status, found.message]).toEqual([413, expect.stringMatching(/larger than/)]);
      const declared = head('POST', '/search', JSON_TYPE, `Content-Length: ${10 << 20}`);
      expect(statusOf(await raw(server.url, [declared]))).toBe(413);
      const chunk = `${(1 << 16).toString(16)}\r\n${'x'.repeat(1 << 16)}\r\n`;
      const chunked = head('POST', '/search', JSON_TYPE, 'Transfer-Encoding: chunked');
      expect(statusOf(await raw(server.url, [chunked, ...Array(40).fill(chunk)]))).toBe(413);
    }
    expect((await server.memory()) - before).toBeLessThan(100 << 20);
    await isWell();
  }, 60_000);

  it('ends connections of slow clients', async () => {
    const startMs = performance.now();
    const slow = await Promise.all([
      // Headers, letter by letter.
      raw(server.url, ['GET /health HTTP/1.1\r\n', ...Array(60).fill('X: y\r\n')], 100),
      // A body that never comes, and one that comes too slowly.
      raw(server.url, [head('POST', '/search', JSON_TYPE, 'Content-Length: 50'), '{"query"']),
      raw(
        server.url,
        [head('POST', '/search', JSON_TYPE, 'Content-Length: 50'), ...Array(50).fill(' ')],
        100,
      ),
    ]);
    expect(performance.now() - startMs).toBeLessThan(8000);
    for (const text of slow) expect([408, Number.NaN]).toContain(statusOf(text));
    await isWell();
  }, 30_000);

  it('gives nothing but its routes for tricks with paths', async () => {
    const targets = [
      '/../../etc/passwd',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/..%2f..%2fetc%2fpasswd',
      '//etc/passwd',
      '/status/../../../etc/passwd',
      '/page/..%5c..%5cstore.json',
      '/search%00',
      '/search/',
      '/SEARCH',
      '/%zz',
      '/\\..\\store.json',
      `/${'a'.repeat(8000)}`,
    ];
    for (const target of targets) {
      const found = await raw(server.url, [head('GET', target, 'Connection: close')]);
      expect([target.slice(0, 40), statusOf(found)]).toEqual([
        target.slice(0, 40),
        expect.toSatisfy(isRefusal),
      ]);
      expect(found).not.toMatch(/root:|undriftStore/);
    }
    expect(statusOf(await raw(server.url, [head('GET', `/${'a'.repeat(40_000)}`)]))).toBe(431);
    const whole = head('GET', 'http://localhost/../status', 'Connection: close');
    expect(statusOf(await raw(server.url, [whole]))).toBe(200);
    // Bytes that are no request, two lengths, and a length beside chunks.
    for (const lines of [
      ['\x16\x03\x01\x02\x00'],
      [head('POST', '/search', JSON_TYPE, 'Content-Length: 5', 'Content-Length: 6'), '{}'],
      [head('POST', '/search', JSON_TYPE, 'Content-Length: 5', 'Transfer-Encoding: chunked'), '0\r\n\r\n'],
    ])
      expect(statusOf(await raw(server.url, lines))).toBe(400);
    await isWell();
  });

  it('counts unknown paths under one label', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => fetch(`${server.url}/x${i}`)));
    const text = await (await fetch(`${server.url}/metrics`)).text();
    expect(text).toMatch(/route="other",status="404"/);
    expect(text.split('\n').length).toBeLessThan(600);
  });

  it('stays whole and of steady memory under a burst of which many leave', async () => {
    const count = IS_WHOLE ? 10_000 : 1500;
    const options = { connections: IS_WHOLE ? 1000 : 300, leaving: 0.2 };
    await burst(server.url, { count: 500, ...options });
    const before = await server.memory();
    for (let round = 0; round < 2; round++) {
      const { statuses, saysWhen } = await burst(server.url, { count, ...options });
      const { 200: found = 0, 503: refused = 0, left = 0, lost = 0, ...others } = statuses;
      expect(others).toEqual({});
      expect([found + refused + left + lost, lost, saysWhen]).toEqual([count, 0, true]);
      expect(found).toBeGreaterThan(64);
      expect(refused).toBeGreaterThan(0);
      await isWell();
    }
    expect((await server.memory()) - before).toBeLessThan(150 << 20);
  }, 600_000);

  it('drops the work of clients that have left', async () => {
    const changes = Array.from({ length: 40 }, async (_, i) => {
      const passages = Array.from({ length: 20 }, (_, j) => ({
        id: `left${i}-${j}`,
        text: 'array of bytes',
      }));
      const abort = new AbortController();
      const sent = fetch(`${server.url}/passages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ passages }),
        signal: abort.signal,
      }).catch(() => {});
      setTimeout(() => abort.abort(), 100);
      await sent;
    });
    await Promise.all(changes);
    await isWell();
    const { passages } = (await (await fetch(`${server.url}/status`)).json()) as { passages: number };
    // The first have begun before they left.
    expect(passages).toBeLessThan(300 + 200 + 40 * 20);
  }, 60_000);
});

const isRefusal = (status: number) => status === 404 || status === 400;

describe('a server with a token', () => {
  it('tells strangers nothing, however they write the token', async () => {
    const folder = join(tempFiles(), 'store');
    await makeStore(folder, 5);
    const own = await startServer(folder, { token: 'secret-token' });
    const status = async (authorization?: string) =>
      (await fetch(`${own.url}/status`, { headers: authorization === undefined ? {} : { authorization } }))
        .status;
    for (const wrong of [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      'Bearer secret-toke',
      'Bearer secret-token2',
      'Bearer Secret-token',
      'Basic secret-token',
      'Bearer Bearer secret-token',
      `Bearer ${'x'.repeat(8000)}`,
    ])
      expect([wrong?.slice(0, 40), await status(wrong)]).toEqual([wrong?.slice(0, 40), 401]);
    expect(await status('Bearer secret-token')).toBe(200);
    expect(await status('bearer  secret-token')).toBe(200);
    expect((await fetch(`${own.url}/unknown`)).status).toBe(401);
    expect((await fetch(`${own.url}//status`)).status).toBe(401);
    expect((await fetch(`${own.url}/status?token=secret-token`)).status).toBe(401);
    expect(await own.close()).toBe(0);
  }, 60_000);
});
