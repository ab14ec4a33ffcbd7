import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/**
 * Finds the program of the browser: `CHROMIUM_PATH`, or the path of Debian's package `chromium`. Undefined if
 * there is none.
 */
export function chromiumPath(): string | undefined {
  return [process.env.CHROMIUM_PATH, '/usr/bin/chromium'].find((path) => path && existsSync(path));
}

/** Reason for skipping tests that need a browser. */
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
/** Time limit for an answer of the browser, in milliseconds. Long enough for a busy machine. */
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
 * Page in a headless Chromium. It is controlled by the DevTools protocol over a pair of pipes, with JSON
 * messages that each end in a NUL: https://chromedevtools.github.io/devtools-protocol/
 */
export class ChromiumPage {
  /**
   * Console errors and warnings, uncaught exceptions, and attempts to load anything but the page's own file.
   */
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
      // The browser gets its own process group, so that all its processes can be ended together.
      detached: true,
    });
    const ended = (why: string) => {
      for (const { done } of this.waiting.values()) done({ error: { message: why } });
    };
    this.process.on('error', ({ message }) => ended(message));
    this.process.on('exit', () => ended('the browser ended'));
    // A write to a browser that has ended is reported by its exit.
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

  /** Opens a page and waits until it is loaded. */
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

  /** Evaluates an expression in the page and returns its value. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** Emulates a screen of the given size. */
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

  /** Moves the pointer to a position inside an element, given as shares of its width and height. */
  async hover(selector: string, across: number, down: number): Promise<void> {
    const { x, y } = await this.evaluate<{ x: number; y: number }>(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center' });
        const b = e.getBoundingClientRect(); return { x: b.x + b.width * ${across}, y: b.y + b.height * ${down} }; })()`,
    );
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
    await this.settled();
  }

  async press(key: string): Promise<void> {
    // The browser also needs the legacy key code. For a letter, this is the code of the key of that letter.
    const codes: Record<string, number> = {
      Tab: 9,
      ' ': 32,
      End: 35,
      Home: 36,
      ArrowLeft: 37,
      ArrowRight: 39,
      Escape: 27,
      ArrowDown: 40,
      ArrowUp: 38,
      Enter: 13,
      '/': 191,
    };
    const event = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: codes[key] };
    const text = key === 'Enter' ? '\r' : key;
    const hasText = text.length === 1;
    await this.send('Input.dispatchKeyEvent', {
      type: hasText ? 'keyDown' : 'rawKeyDown',
      ...event,
      ...(hasText && { text }),
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    await this.settled();
  }

  /** Writes a picture of the whole page to a file. */
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
    // On a busy machine, the helper processes of the browser may take a moment to end.
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** Waits two frames, after which everything requested has been drawn. */
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
