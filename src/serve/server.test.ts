import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { type RunningServer, serveStore } from './server.ts';

const retriever = smallRetriever({ kind: 'static' });
const passages = ['opens a file', 'joins two paths', 'sorts an array', 'reads <b>bytes</b>'].map(
  (text, i) => ({
    id: `p${i}`,
    text,
    metadata: { year: 2020 + i },
  }),
);
const CROSS_ENCODER = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));
let folder: string;
let server: RunningServer;

beforeAll(async () => {
  folder = join(tempFiles(), 'store');
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  await indexPassages(store, retriever, passages, { model: 'small', threads: 1 });
  await store.close();
  server = await serveStore(folder, {
    port: 0,
    threads: 1,
    maxBodyBytes: 20_000,
    rerank: { model: CROSS_ENCODER, depth: 3 },
  });
}, 60_000);
afterAll(() => server?.close());

async function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, json: isJson ? JSON.parse(text) : undefined, text };
}

describe('a server', () => {
  it('searches in every mode, with filters', async () => {
    for (const mode of ['dense', 'bm25', 'hybrid']) {
      const { status, json } = await send('POST', '/search', { query: 'opens a file', topK: 2, mode });
      expect(status).toBe(200);
      expect(json).toMatchObject({ query: 'opens a file', mode });
      expect(json.results[0]).toMatchObject({ id: 'p0', rank: 1, text: 'opens a file' });
    }
    const { json } = await send('POST', '/search', { query: 'a file', filter: ['year>=2022'] });
    expect(json.results.map(({ id }: { id: string }) => id).sort()).toEqual(['p2', 'p3']);
  });

  it('reranks by its cross-encoder where a search asks for it', async () => {
    const body = { query: 'the cat', mode: 'dense', topK: 3 };
    const plain = (await send('POST', '/search', body)).json.results as { id: string; text: string }[];
    const { status, json } = await send('POST', '/search', { ...body, rerank: true });
    expect(status).toBe(200);
    const crossEncoder = await loadCrossEncoder(CROSS_ENCODER);
    const ranked = await crossEncoder.rank(
      'the cat',
      plain.map(({ text }) => text),
      { threads: 1 },
    );
    await crossEncoder.dispose();
    const results = json.results as { id: string; score: number; rank: number }[];
    expect(results.map(({ id }) => id)).toEqual(ranked.map(({ document }) => plain[document]!.id));
    expect(results.map(({ rank }) => rank)).toEqual([1, 2, 3]);
    const described = (await send('GET', '/status')).json.server;
    expect(described).toEqual({ readOnly: false, answers: null, reranker: CROSS_ENCODER });
    for (const [i, { score }] of ranked.entries()) expect(results[i]!.score).toBeCloseTo(score, 5);
  });

  it('gives each of many searches at once its own answer', async () => {
    const found = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        send('POST', '/search', { query: passages[i % 4]!.text, topK: 1 }),
      ),
    );
    expect(found.map(({ json }) => json.results[0].id)).toEqual(found.map((_, i) => `p${i % 4}`));
  });

  it('embeds, in its own format and that of the OpenAI API', async () => {
    const texts = ['opens a file', 'x'];
    // The model as the store has it: folding of token weights into the table has rounded its numbers.
    const stored = await loadRetriever(join(folder, 'encoders', embeddingSpaceId(retriever)));
    const expected = await stored.encode('document', texts, { threads: 1 });
    const own = await send('POST', '/embed', { texts });
    expect(own.json).toMatchObject({ dimension: 32, space: expect.stringMatching(/^[0-9a-f]{16}$/) });
    expect(own.json.embeddings.flat()).toEqual(Array.from(expected));
    const floats = await send('POST', '/v1/embeddings', { input: texts, model: 'small' });
    expect(floats.json).toMatchObject({ object: 'list', model: 'small', data: [{ index: 0 }, { index: 1 }] });
    expect(floats.json.data[1].embedding).toEqual(Array.from(expected.subarray(32)));
    expect(floats.json.usage.total_tokens).toBeGreaterThan(2);
    const base64 = await send('POST', '/v1/embeddings', { input: 'x', encoding_format: 'base64' });
    const bytes = Buffer.from(base64.json.data[0].embedding, 'base64');
    expect(new Float32Array(new Uint8Array(bytes).buffer)).toEqual(expected.slice(32));
    const asQuery = await send('POST', '/v1/embeddings', { input: 'x', input_type: 'query' });
    const query = await stored.encode('query', ['x'], { threads: 1 });
    expect(asQuery.json.data[0].embedding).toEqual(Array.from(query));
  });

  it('searches and embeds in another space of the store, and names those it knows', async () => {
    const other = smallRetriever({ kind: 'static', seed: 7 });
    const space = embeddingSpaceId(other);
    const store = await Store.open(folder);
    await indexPassages(store, other, passages, { model: 'other', threads: 1 });
    await store.close();
    const stored = await loadRetriever(join(folder, 'encoders', space));
    const [query, document] = ['query', 'document'] as const;
    const vectors = await stored.encode(document, [passages[2]!.text], { threads: 1 });
    const asked = await stored.encode(query, ['array'], { threads: 1 });
    const expected = asked.reduce((sum, value, i) => sum + value * vectors[i]!, 0);
    const body = { query: 'array', mode: 'dense', topK: 4 };
    await expect
      // The space is committed before its vectors.
      .poll(async () => (await send('POST', '/search', { ...body, space })).json.results?.length, {
        timeout: 10_000,
      })
      .toBe(4);
    const found = (await send('POST', '/search', { ...body, space })).json;
    expect(found.space).toBe(space);
    const scores = new Map(found.results.map(({ id, score }: { id: string; score: number }) => [id, score]));
    expect(scores.get('p2')).toBeCloseTo(expected, 5);
    const current = (await send('POST', '/search', body)).json.results;
    expect(current.find(({ id }: { id: string }) => id === 'p2').score).not.toBeCloseTo(expected, 3);
    const embedded = await send('POST', '/embed', { texts: [passages[2]!.text], space });
    expect(embedded.json).toMatchObject({ space, embeddings: [Array.from(vectors)] });
    const named = await send('POST', '/v1/embeddings', { input: passages[2]!.text, model: 'other' });
    expect(named.json).toMatchObject({ model: 'other', data: [{ embedding: Array.from(vectors) }] });
    const unknown = await send('POST', '/search', { ...body, space: 'none' });
    expect(unknown.json.error).toMatchObject({
      message: 'the store has no embedding space none',
      help: expect.stringContaining(`${space} (other)`),
    });
  });

  it('counts passages by the ages of their vectors', async () => {
    const { json } = await send('GET', '/ages');
    expect(json).toMatchObject({ missing: 0, versions: [{ model: 'small', current: true }] });
    expect(json.cells.length).toBe(json.passages);
  });

  it('takes changes, and finds them at once', async () => {
    const added = await send('POST', '/passages', { passages: [{ id: 'new', text: 'wholly new encoding' }] });
    expect(added.json).toMatchObject({ added: 1, embedded: 1 });
    const found = await send('POST', '/search', { query: 'wholly new encoding', mode: 'dense', topK: 1 });
    expect(found.json.results).toMatchObject([{ id: 'new' }]);
    expect((await send('DELETE', '/passages', { ids: ['new', 'none'] })).json).toEqual({ removed: 1 });
    const after = await send('POST', '/search', { query: 'wholly new encoding', topK: 100 });
    expect(after.json.results.map(({ id }: { id: string }) => id)).not.toContain('new');
  });

  it('sees what another process commits', async () => {
    const store = await Store.open(folder);
    await indexPassages(store, retriever, [{ id: 'theirs', text: 'returned number' }], { threads: 1 });
    const search = async () =>
      (await send('POST', '/search', { query: 'returned number', topK: 1 })).json.results[0].id;
    await expect.poll(search, { timeout: 10_000 }).toBe('theirs');
    await store.close();
  });

  it('describes itself', async () => {
    expect((await send('GET', '/health')).json).toEqual({ ok: true });
    expect((await send('GET', '/status')).json).toMatchObject({
      spaces: [
        { model: 'small', share: 1, current: true },
        { model: 'other', current: false },
      ],
    });
    expect((await send('GET', '/v1/models')).json.data).toMatchObject([{ id: 'small' }, { id: 'other' }]);
    const { paths } = (await send('GET', '/openapi.json')).json;
    expect(Object.keys(paths)).toEqual([
      '/search',
      '/embed',
      '/passages',
      '/status',
      '/ages',
      '/answer',
      '/v1/embeddings',
      '/v1/models',
    ]);
    expect(
      paths['/search'].post.requestBody.content['application/json'].schema.properties.topK,
    ).toMatchObject({
      type: 'integer',
      minimum: 1,
      maximum: 1000,
    });
    const { text } = await send('GET', '/metrics');
    expect(text).toMatch(/undrift_requests_total\{route="\/search",status="200"\} \d+/);
    expect(text).toMatch(/undrift_request_seconds_bucket\{route="\/search",le="\+Inf"\} \d+/);
    expect((await send('GET', '/')).text).toMatch(/<!doctype html>/);
  });

  it.each([
    ['no JSON', 400, '{"query": ', /not valid JSON/],
    [
      'deep JSON',
      400,
      `{"query": ${'['.repeat(1000)}${']'.repeat(1000)}}`,
      /nested more than 200 levels deep/,
    ],
    ['a list', 400, '[]', /must be a JSON object/],
    ['nothing', 400, '{}', /"query" is missing/],
    ['an unknown field', 400, { query: 'x', topk: 1 }, /unknown option "topk", did you mean 'topK'/],
    ['a wrong type', 400, { query: 'x', topK: '3' }, /topK should be a whole number from 1 to 1,000/],
    ['an unknown mode', 400, { query: 'x', mode: 'dens' }, /did you mean 'dense'/],
    ['a wrong filter', 400, { query: 'x', filter: ['year'] }, /not a condition/],
    ['an empty query', 400, { query: ' ' }, /empty/],
    [
      'an index that is not there',
      400,
      { query: 'x', mode: 'dense', approximate: true },
      /no index for approximate/,
    ],
    [
      'a space for words',
      400,
      { query: 'x', mode: 'bm25', space: 'x' },
      /"space" has no effect with "mode": "bm25"/,
    ],
    [
      'a weight of one part',
      400,
      { query: 'x', mode: 'dense', denseWeight: 0.5 },
      /"denseWeight" has no effect/,
    ],
    ['a large body', 413, { query: 'x'.repeat(30_000) }, /larger than 20000 bytes/],
  ])('refuses %s', async (_, status, body, message) => {
    const found = await send('POST', '/search', body);
    expect(found.status).toBe(status);
    expect(found.json.error.message).toMatch(message);
  });

  it('refuses other routes, other types, other names, and damaged passages', async () => {
    expect((await send('GET', '/../../etc/passwd')).status).toBe(404);
    const other = await fetch(`${server.url}/search`);
    expect([other.status, other.headers.get('allow')]).toEqual([405, 'POST']);
    expect(await other.json()).toMatchObject({ error: { message: '/search takes POST, not GET' } });
    const changed = await fetch(`${server.url}/passages`, { method: 'PATCH' });
    expect([changed.status, changed.headers.get('allow')]).toEqual([405, 'POST, DELETE']);
    expect((await send('POST', '/search', { query: 'a', filter: 'year>1' })).json.error.message).toBe(
      'filter should be a list of texts, found "year>1"',
    );
    const plain = await fetch(`${server.url}/search`, { method: 'POST', body: '{"query":"x"}' });
    expect(plain.status).toBe(415);
    const { status } = await raw('GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
    expect(status).toBe(403);
    for (const wrong of [
      { id: '', text: 'x' },
      { id: 'a' },
      { id: 'a', text: 'x', metadata: 3 },
      { id: 'a', text: 'x', y: 1 },
    ]) {
      const found = await send('POST', '/passages', { passages: [wrong] });
      expect([found.status, found.json.error.message]).toEqual([
        400,
        expect.stringMatching(/^passages\[0\]: /),
      ]);
    }
  });

  it('goes on when clients leave in the middle', async () => {
    for (let i = 0; i < 20; i++) {
      const abort = new AbortController();
      const left = fetch(`${server.url}/search`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"query":"opens"}',
        signal: abort.signal,
      }).catch(() => {});
      abort.abort();
      await left;
    }
    expect((await send('POST', '/search', { query: 'opens a file', topK: 1 })).json.results[0].id).toBe('p0');
  });
});

/** Sends bytes as they are, and returns the status. */
async function raw(request: string): Promise<{ status: number }> {
  const { port, hostname } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(request);
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  await once(socket, 'close');
  return { status: Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]) };
}

describe('access', () => {
  it('asks for a token where one is set, and refuses other machines without one', async () => {
    await expect(serveStore(folder, { port: 0, host: '0.0.0.0' })).rejects.toThrow(
      /there is no token[\s\S]*UNDRIFT_TOKEN/,
    );
    const own = await serveStore(folder, { port: 0, token: 'secret', readOnly: true, threads: 1 });
    const status = async (path: string, token?: string) =>
      (
        await fetch(own.url + path, {
          headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        })
      ).status;
    expect(await status('/status')).toBe(401);
    expect(await status('/status', 'secreT')).toBe(401);
    expect(await status('/metrics')).toBe(401);
    expect(await status('/status', 'secret')).toBe(200);
    expect(await status('/health')).toBe(200);
    const refused = await fetch(`${own.url}/passages`, {
      method: 'POST',
      headers: { authorization: 'Bearer secret', 'content-type': 'application/json' },
      body: '{"passages":[]}',
    });
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringMatching(/does not change its store/),
    ]);
    await own.close();
    await expect(fetch(`${own.url}/health`)).rejects.toThrow();
  });

  it('is refused on a port that is in use, and without a store', async () => {
    const port = Number(new URL(server.url).port);
    await expect(serveStore(folder, { port, threads: 1 })).rejects.toThrow(/port is in use/);
    await expect(serveStore(join(folder, 'none'), { port: 0 })).rejects.toThrow(/is not a store/);
  });
});
