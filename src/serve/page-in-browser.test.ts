import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPage, chromiumPath, NO_CHROMIUM } from '../../test/chromium.ts';
import { type FakeChatService, fakeChatService } from '../../test/fake-chat-service.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { ChatAnswerer } from './answer/chat-answerer.ts';
import { type RunningServer, serveStore } from './server.ts';

const program = chromiumPath();
const LONG = `opens a file ${'and reads a number of bytes of it '.repeat(30)}`;
const texts = [LONG, 'opens the whole <b>file</b>', 'returns a number', 'an array of bytes'];

describe.skipIf(!program)(program ? 'the page in a browser' : NO_CHROMIUM, () => {
  let service: FakeChatService;
  let server: RunningServer;
  let page: ChromiumPage;

  beforeAll(async () => {
    const folder = join(tempFiles(), 'store');
    const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
    const passages = texts.map((text, i) => ({ id: `p${i}`, text, metadata: { year: 2020 + i } }));
    for (const [seed, model] of [
      [3, 'first'],
      [7, 'runs/second'],
    ] as const) {
      const retriever = smallRetriever({ kind: 'static', seed });
      await indexPassages(store, retriever, passages, { model, threads: 1 });
    }
    await store.close();
    service = await fakeChatService();
    const answerer = new ChatAnswerer({ url: service.url, model: 'cites' });
    server = await serveStore(folder, { port: 0, threads: 1, token: 'secret', readOnly: true, answerer });
    page = await ChromiumPage.open(program!);
    await page.goto(server.url);
  }, 120_000);
  afterAll(async () => {
    await page?.close();
    await server?.close();
    await service?.close();
  });

  const text = (selector: string) =>
    page.evaluate<string>(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ''`);
  const focused = () =>
    page.evaluate<string>(`document.activeElement.dataset.id ?? document.activeElement.id`);
  const set = (id: string, value: string) =>
    page.evaluate(`(() => { const e = document.getElementById('${id}'); e.value = ${JSON.stringify(value)};
      e.dispatchEvent(new Event('change', { bubbles: true })); })()`);

  it('asks for a token, and describes the store', async () => {
    await expect.poll(() => text('#message')).toBe('this server asks for a token');
    await set('token', 'secret');
    await expect.poll(() => text('#store')).toMatch(/^4 passages · .* · first$/);
    await expect.poll(() => text('#age-legend')).toBe('first · step 0 4');
    expect(await text('#message')).toBe('');
    expect(await page.evaluate(`document.querySelectorAll('#age-picture .block').length`)).toBe(4);
    const offered = `[...document.querySelectorAll('#second option')].map((option) => option.textContent)`;
    expect(await page.evaluate(offered)).toEqual([
      'nothing',
      'Hybrid',
      'Dense',
      'BM25',
      'Dense by runs/second',
      'Hybrid by runs/second',
    ]);
  });

  it('shows two rankings side by side, with marked words and changes of rank', async () => {
    await set('first', 'bm25');
    await set(
      'second',
      await page.evaluate<string>(`[...document.querySelectorAll('#second option')][4].value`),
    );
    await page.evaluate(`document.getElementById('query').focus()`);
    await page.evaluate(`document.getElementById('query').value = 'opens the file'`);
    await page.press('Enter');
    await expect.poll(() => text('#message')).toMatch(/passages are in both columns/);
    expect(await text('#column-0')).toBe('A · BM25');
    expect(await text('#column-1')).toBe('B · Dense by runs/second');
    expect(await text('.hit .text')).toBe('opens the whole <b>file</b>');
    const marks = `[...document.querySelector('.hit').querySelectorAll('mark')].map((mark) => mark.textContent)`;
    expect(await page.evaluate(marks)).toEqual(['opens', 'file']);
    expect(await text('.change')).toMatch(/rank \d in column B|not in B/);
    expect(await page.evaluate('location.hash')).toMatch(/^#q=opens\+the\+file&a=bm25&b=dense/);
  });

  it('is used by keys', async () => {
    await page.press('ArrowDown');
    expect(await focused()).toBe('p1');
    await page.press('ArrowDown');
    expect(await focused()).toBe('p0');
    const before = await text('.column .hit:nth-child(2) .text');
    expect(before.length).toBeLessThan(450);
    await page.press('Enter');
    expect(await text('.column .hit:nth-child(2) .text')).toBe(LONG);
    await page.press('ArrowRight');
    expect(
      await page.evaluate(
        `document.activeElement.closest('.column') === document.querySelectorAll('.column')[1]`,
      ),
    ).toBe(true);
    await page.press('/');
    expect(await focused()).toBe('query');
    expect(await page.evaluate(`document.getElementById('query').value`)).toBe('opens the file');
    await page.press('ArrowDown');
    await page.press('Escape');
    expect(await focused()).toBe('query');
  });

  it('shows an answer with links to its passages, and an error', async () => {
    await page.click('#ask');
    await expect.poll(() => text('#answer-message')).toMatch(/^The answer cites 1 of 2 passages/);
    expect(await text('#answer-text')).toBe('It opens a file 1 — and söme [7].');
    await page.click('.citation');
    expect(await focused()).toBe('source-1');
    await set('filter', 'year>2');
    await set('filter', 'year');
    await expect.poll(() => text('#message')).toMatch(/"year" is not a condition/);
    await set('filter', '');
  });

  it('fits a phone, and loads nothing from elsewhere', async () => {
    await page.screen({ width: 360, height: 700, phone: true, dark: true });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    // The browser reports refused requests as errors: the first one, which had no token, and the wrong filter.
    const others = page.complaints.filter(
      (complaint) => !complaint.startsWith(`request: ${server.url}/`) && !/status of 40[01]/.test(complaint),
    );
    expect(others.filter((complaint) => complaint !== 'request: data:,')).toEqual([]);
  });
});
