import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** The browser's program: `CHROMIUM_PATH`, or where Debian's package `chromium` puts it; undefined where there is none. */
export function chromiumPath(): string | undefined {
  return [process.env.CHROMIUM_PATH, '/usr/bin/chromium'].find((path) => path && existsSync(path));
}

/** Why tests in a browser are left out, where they are. */
export const NO_CHROMIUM =
  'no Chromium: install Debian\'s package "chromium", or let CHROMIUM_PATH name the program';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-pipe',
];
/** Long enough for a machine that is busy with other things. */
const ANSWER_MS = 60_000;

type Values = Record<string, unknown>;
interface Message extends Values {
  id?: number;
  method?: string;
  params?: Values;
  result?: Values;
  error?: { message: string };
}

/**
 * A page in a headless Chromium, spoken to in the DevTools protocol over a pair of pipes: JSON with a NUL after each message.
 * https://chromedevtools.github.io/devtools-protocol/
 */
export class ChromiumPage {
  /** What the page wrote to the console as an error or warning, uncaught exceptions, and what it tried to load but its own file. */
  readonly complaints: string[] = [];
  private readonly process: ChildProcess;
  private readonly profile: string;
  private readonly waiting = new Map<number, { done: (message: Message) => void }>();
  private readonly listeners = new Map<string, (params: Values) => void>();
  private lastId = 0;
  private session: string | undefined;

  private constructor(program: string) {
    this.profile = mkdtempSync(join(tmpdir(), 'undrift-chromium-'));
    this.process = spawn(program, [...FLAGS, `--user-data-dir=${this.profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      // A process group of its own, which ends as a whole.
      detached: true,
    });
    const ended = (why: string) => {
      for (const { done } of this.waiting.values()) done({ error: { message: why } });
    };
    this.process.on('error', ({ message }) => ended(message));
    this.process.on('exit', () => ended('the browser ended'));
    // A write to a browser that is gone is answered by its end.
    (this.process.stdio[3] as Writable).on('error', () => {});
    let rest = '';
    const fromBrowser = this.process.stdio[4] as Readable;
    fromBrowser.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop()!;
      for (const message of messages) this.receive(JSON.parse(message));
    });
  }

  static async open(program: string): Promise<ChromiumPage> {
    const page = new ChromiumPage(program);
    try {
      const { targetId } = await page.send('Target.createTarget', { url: 'about:blank' });
      const { sessionId } = await page.send('Target.attachToTarget', { targetId, flatten: true });
      page.session = sessionId as string;
      for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
      return page;
    } catch (error) {
      await page.close();
      throw error;
    }
  }

  /** Loads a page and waits until it is there. */
  async goto(url: string): Promise<void> {
    this.listeners.set('Network.requestWillBeSent', ({ request }) => {
      const asked = (request as { url: string }).url;
      if (asked !== url) this.complaints.push(`request: ${asked}`);
    });
    const loaded = new Promise<void>((resolve) => this.listeners.set('Page.loadEventFired', () => resolve()));
    await this.send('Page.navigate', { url });
    await within(loaded, 'the page to load');
    await this.settled();
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** Shows the page as a screen of that size does. */
  async screen(options: { width: number; height: number; dark?: boolean; phone?: boolean }): Promise<void> {
    const { width, height, dark = false, phone = false } = options;
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: phone ? 2 : 1,
      mobile: phone,
    });
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await this.send('Emulation.setEmulatedMedia', { features });
    await this.settled();
  }

  async click(selector: string): Promise<void> {
    const { x, y } = await this.evaluate<{ x: number; y: number }>(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center' });
        const b = e.getBoundingClientRect(); return { x: b.x + b.width / 2, y: b.y + b.height / 2 }; })()`,
    );
    const at = { x, y, button: 'left', clickCount: 1 };
    await this.send('Input.dispatchMouseEvent', { type: 'mousePressed', ...at });
    await this.send('Input.dispatchMouseEvent', { type: 'mouseReleased', ...at });
    await this.settled();
  }

  /** Moves the pointer to a place inside an element, as shares of its width and height. */
  async hover(selector: string, across: number, down: number): Promise<void> {
    const { x, y } = await this.evaluate<{ x: number; y: number }>(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center' });
        const b = e.getBoundingClientRect(); return { x: b.x + b.width * ${across}, y: b.y + b.height * ${down} }; })()`,
    );
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
    await this.settled();
  }

  async press(key: string): Promise<void> {
    // The browser wants the number of old too: of a letter's key it is the letter's.
    const codes: Record<string, number> = {
      Tab: 9,
      ' ': 32,
      End: 35,
      Home: 36,
      ArrowLeft: 37,
      ArrowRight: 39,
      Escape: 27,
    };
    const event = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: codes[key] };
    await this.send('Input.dispatchKeyEvent', {
      type: key === ' ' ? 'keyDown' : 'rawKeyDown',
      ...event,
      ...(key === ' ' && { text: ' ' }),
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    await this.settled();
  }

  /** A picture of the whole page. */
  async screenshot(file: string): Promise<void> {
    const { data } = await this.send('Page.captureScreenshot', {
      format: 'png',
      captureBeyondViewport: true,
    });
    await writeFile(file, Buffer.from(data as string, 'base64'));
  }

  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.process.once('exit', () => resolve()));
    const { pid, exitCode, signalCode } = this.process;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      process.kill(-pid, 'SIGKILL');
      await ended;
    }
    // On a busy machine its helpers may need a moment to end.
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** Two frames later everything that was asked for has been drawn. */
  private async settled(): Promise<void> {
    await this.evaluate(
      'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => 0)',
    );
  }

  private send(method: string, params: Values = {}): Promise<Values> {
    const id = ++this.lastId;
    const answered = new Promise<Values>((resolve, reject) => {
      const done = ({ result, error }: Message) =>
        error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result ?? {});
      this.waiting.set(id, { done });
    });
    const message = { id, method, params, ...(this.session && { sessionId: this.session }) };
    (this.process.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return within(answered, method);
  }

  private receive(message: Message): void {
    if (message.id !== undefined) {
      this.waiting.get(message.id)?.done(message);
      this.waiting.delete(message.id);
      return;
    }
    const { method = '', params = {} } = message;
    const isError = params.type === 'error' || params.type === 'warning' || params.type === 'assert';
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params.exceptionDetails));
    if (method === 'Runtime.consoleAPICalled' && isError) this.complaints.push(JSON.stringify(params.args));
    if (method === 'Log.entryAdded') this.complaints.push(JSON.stringify(params.entry));
    this.listeners.get(method)?.(params);
  }
}

async function within<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ANSWER_MS} ms for ${what}`)), ANSWER_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
