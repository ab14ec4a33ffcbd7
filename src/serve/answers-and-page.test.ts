import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FakeChatService, fakeChatService } from '../../test/fake-chat-service.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { ChatAnswerer } from './answer/chat-answerer.ts';
import { readEvents } from './browser/event-stream.ts';
import { type RunningServer, serveStore } from './server.ts';

const folder = join(tempFiles(), 'store');
beforeAll(async () => {
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  const passages = ['opens a file', 'joins two paths'].map((text, i) => ({ id: `p${i}`, text }));
  await indexPassages(store, smallRetriever({ kind: 'static' }), passages, { threads: 1 });
  await store.close();
}, 60_000);

describe('answers', () => {
  let service: FakeChatService;
  let answering: RunningServer;
  beforeAll(async () => {
    service = await fakeChatService();
  });
  afterAll(() => service?.close());
  afterEach(() => answering?.close());

  async function ask(model: string, body: object = { query: 'opens a file', topK: 2 }) {
    const answerer = new ChatAnswerer({ url: service.url, model });
    answering = await serveStore(folder, { port: 0, readOnly: true, threads: 1, answerer });
    return await post('/answer', body);
  }

  const post = (path: string, body: object, signal: AbortSignal | null = null) =>
    fetch(answering.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });

  async function eventsOf(response: Response) {
    const events: { event: string; data: Record<string, unknown> }[] = [];
    for await (const { event, data } of readEvents(response.body!))
      events.push({ event, data: JSON.parse(data) });
    return events;
  }

  it('are streamed with their passages and the numbers that they cite', async () => {
    const response = await ask('cites');
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events = await eventsOf(response);
    expect(events[0]).toMatchObject({
      event: 'passages',
      data: { model: 'cites', passages: [{ number: 1, id: 'p0', text: 'opens a file' }, { number: 2 }] },
    });
    const text = events.filter(({ event }) => event === 'text').map(({ data }) => data.text);
    expect(text.join('')).toBe('It opens a file [1] — and söme [7].');
    expect(text.length).toBeGreaterThan(1);
    expect(events.at(-1)).toMatchObject({ event: 'done', data: { citations: [1], isCut: false } });
    expect(service.requests.at(-1)!.body.messages[1]!.content).toContain('[1] opens a file');
    const status = (await (await fetch(`${answering.url}/status`)).json()) as { server: object };
    expect(status.server).toMatchObject({ readOnly: true, answers: 'cites' });
    expect(await (await fetch(answering.url)).text()).toContain('id="ask"');
  });

  it('end with an error event where the model fails', async () => {
    const events = await eventsOf(await ask('denied'));
    expect(events.map(({ event }) => event)).toEqual(['passages', 'error']);
    expect(events[1]!.data).toMatchObject({
      message: expect.stringMatching(/status 401/),
      help: expect.stringMatching(/KEY/),
    });
  });

  it('are refused like searches, and in a server without a model', async () => {
    expect((await ask('cites', { query: 'x', topK: 21 })).status).toBe(400);
    await answering.close();
    answering = await serveStore(folder, { port: 0, readOnly: true, threads: 1 });
    const refused = await post('/answer', { query: 'x' });
    const { error } = (await refused.json()) as { error: object };
    expect(refused.status).toBe(404);
    expect(error).toMatchObject({
      help: 'start it with --answer-model, and with --answer-url for a model of a service',
    });
    expect(await (await fetch(answering.url)).text()).not.toContain('id="ask"');
  });

  it('are ended when the client leaves, when the server closes, and no more than four at once', async () => {
    const first = await ask('stalls');
    const answerAgain = (signal?: AbortSignal) => post('/answer', { query: 'opens a file' }, signal);
    const leaving = new AbortController();
    const others = [await answerAgain(leaving.signal), await answerAgain(), await answerAgain()];
    expect((await answerAgain()).status).toBe(503);
    leaving.abort();
    await service.left;
    await expect
      .poll(async () => (await fetch(`${answering.url}/metrics`)).text())
      .toMatch(/answers_running 3/);
    const events = eventsOf(first);
    const rest = others.slice(1).map(eventsOf);
    await answering.close();
    expect((await events).at(-1)).toEqual({ event: 'error', data: { message: 'the answer was stopped' } });
    await Promise.all(rest);
  });
});

describe('the page', () => {
  it('loads nothing but its own files, which exist without a token', async () => {
    const own = await serveStore(folder, { port: 0, token: 'secret', readOnly: true, threads: 1 });
    const get = (path: string) => fetch(new URL(path, own.url));
    const page = await get('/');
    expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'; script-src 'self'/);
    const html = await page.text();
    const files = [...html.matchAll(/(?:href|src)="(page\/[^"]+)"/g)].map(([, path]) => path!);
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      const response = await get(file);
      expect([file, response.status]).toEqual([file, 200]);
      if (!file.endsWith('.js')) continue;
      const imports = [...(await response.text()).matchAll(/from '(\.[^']+)'/g)];
      for (const [, path] of imports) expect(files).toContain(`page/${path!.slice(2)}`);
    }
    expect(html).not.toMatch(/https?:\/\/|style="|onclick=/);
    expect((await get('/page/../package.json')).status).toBe(401);
    await own.close();
  });
});
